"""What the report of an embedding network shows: images whose neighbours are others for int8 than for float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.disagreement import Pair, between
from .html_report import embed, sample


def neighbours(paths: list[Path], real: NDArray[Any], rounded: NDArray[Any]) -> dict[str, Any]:
    """Where float and int8 disagree on which of the other test images is the nearest, by cosine.

    Args:
        paths: test images
        real: the float network's vector for each
        rounded: the int8 network's
    """
    fp32, int8 = _nearest(real), _nearest(rounded)
    rows = enumerate(zip(paths, fp32, int8, cosine_of(real, rounded).tolist(), strict=True))
    pairs = [
        Pair(place, path, f"nearest {paths[one].name}", f"nearest {paths[other].name}", bool(one != other), 1 - alike)
        for place, (path, one, other, alike) in rows
    ]
    apart = between(pairs, "the answer being which of the other test images is the nearest")
    shown = apart.pictures(lambda pair: embed(sample(pair.path)))
    return {"apart": apart, "apart_pictures": shown, "apart_wide": False}


def _nearest(vectors: NDArray[Any]) -> NDArray[Any]:
    """The number of the nearest other row, of each; of a single row, its own."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
    alike = units @ units.T
    np.fill_diagonal(alike, -np.inf)
    return np.asarray(alike.argmax(axis=1))


def cosine_of(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Of each row."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / lengths.clip(min=1e-12))
