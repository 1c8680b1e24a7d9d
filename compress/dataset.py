"""The images, and how they are divided so that no figure flatters.

    fit         good images that the detector learns from
    calibrate   good images that the integer ranges are set with
    threshold   good images that the threshold is set with
    test        good images that nothing has seen, and all defective ones

Images of one group (pictures of one part, one shift, one module) resemble each other more than what the camera will see
tomorrow; a group is never divided.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime import picture
from vedette.runtime.manifest import Input
from vedette.runtime.preprocess import Preprocess
from vedette.runtime.problem import ConfigProblem

from .goal import Data

SHARES = {"fit": 0.5, "calibrate": 0.1, "threshold": 0.15, "test": 0.25}
_FEWEST = 10


class Split(msgspec.Struct, frozen=True):
    """Paths of images; the four lists of good ones are disjoint."""

    fit: list[Path]
    calibrate: list[Path]
    threshold: list[Path]
    test: list[Path]
    defect: list[Path]
    masks: dict[Path, Path]
    """Defective image -> its mask, where it has one."""
    groups: dict[Path, str] = {}
    """Good image -> its group; an image alone is a group of its own."""


def split(data: Data, base: Path) -> Split:
    """Divides the images that `data` names; the same seed gives the same division.

    Raises:
        ConfigProblem: a folder is missing or empty, or there are too few good images or groups.
    """
    good = picture.find(base / data.good)
    if len(good) < _FEWEST:
        hint = "a detector needs tens, better hundreds, of good images"
        raise ConfigProblem(f"{base / data.good}: {len(good)} good images, at least {_FEWEST} are needed", hint=hint)
    groups: dict[str, list[Path]] = {}
    for path in good:
        groups.setdefault(_group(path.relative_to(base / data.good).as_posix(), data.group), []).append(path)
    if len(groups) < len(SHARES):
        hint = "mend data.group; each of fit, calibrate, threshold and test needs a group"
        raise ConfigProblem(f"data.group makes {len(groups)} groups, at least {len(SHARES)} are needed", hint=hint)
    parts = _divide(groups, data.seed)
    defect = picture.find(base / data.defect) if data.defect is not None else []
    masks = _masks(defect, base / data.mask) if data.mask is not None else {}
    if shared := set(good) & {*defect, *masks.values()}:
        hint = "data.good is searched with its sub-folders: keep good and defective images apart"
        raise ConfigProblem(f"{min(shared)} would count as good and as defective", hint=hint)
    of = {path: name for name, paths in groups.items() for path in paths}
    return Split(**parts, defect=defect, masks=masks, groups=of)


def _group(name: str, pattern: str | None) -> str:
    found = re.search(pattern, name) if pattern is not None else None
    if found is None:
        return name
    return str(found.group(1) if found.re.groups else found.group())


def _divide(groups: dict[str, list[Path]], seed: int) -> dict[str, list[Path]]:
    """Deals the groups, in a random order, to whichever part lacks most of its share; the first four fill all parts."""
    names = sorted(groups)
    np.random.default_rng(seed).shuffle(names)
    total = sum(map(len, groups.values()))
    parts: dict[str, list[Path]] = {part: [] for part in SHARES}
    for name in names:
        empty = [part for part in SHARES if not parts[part]]
        part = min(empty or SHARES, key=lambda part: len(parts[part]) / (SHARES[part] * total))
        parts[part] += groups[name]
    return {part: sorted(paths) for part, paths in parts.items()}


def _masks(defect: list[Path], folder: Path) -> dict[Path, Path]:
    by_stem = {path.stem: path for path in picture.find(folder)}
    masks = {path: by_stem[path.stem] for path in defect if path.stem in by_stem}
    if not masks:
        hint = "a mask has the stem of the defective image (data.defect) that it belongs to"
        raise ConfigProblem(f"{folder}: no mask belongs to a defective image", hint=hint)
    return masks


def tensors(paths: Iterable[Path], spec: Input) -> Iterator[NDArray[Any]]:
    """Images as a model takes them, through the runtime's preprocessing: 1 x height x width x 3, u8."""
    preprocess = Preprocess(spec)
    for path in paths:
        yield preprocess(picture.read(path))


def read_mask(path: Path) -> NDArray[Any]:
    """H x W, bool: where the part is defective. The alpha channel decides where there is one, else what is not black.

    Raises:
        ConfigProblem: the file cannot be read as an image.
    """
    pixels = picture.read(path, cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return np.asarray(pixels[..., 3] >= 128)
    return np.asarray(pixels.reshape(*pixels.shape[:2], -1).max(axis=2) > 0)
