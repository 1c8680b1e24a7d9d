"""The report of an imported network: test images whose int8 output is farthest from the float output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.disagreement import ImageComparison, rank_comparisons
from ..evaluation.fidelity import cosine_similarity
from .task_report_section import DisagreementSection, TaskReportSection
from .thumbnails import read_thumbnail, to_data_url

MAX_SAMPLES = 8


def embedding_context(paths: Sequence[Path], fp32: NDArray[Any], int8: NDArray[Any]) -> TaskReportSection:
    """The part of an embedding network in the report; `fp32` and `int8` hold a vector for each test image, n x K."""
    cosine = cosine_similarity(fp32, int8)
    samples = [
        {
            "name": paths[index].name,
            "text": f"cosine {cosine[index]:.4f}",
            "image": to_data_url(read_thumbnail(paths[index])),
        }
        for index in cosine.argsort()[:MAX_SAMPLES]
    ]
    rows = [{"title": "Least like float", "images": samples}]
    return TaskReportSection(
        template="imported.html", disagreement=compare_nearest(paths, fp32, int8), variables={"samples": rows}
    )


def compare_nearest(paths: Sequence[Path], fp32: NDArray[Any], int8: NDArray[Any]) -> DisagreementSection:
    """Test images whose nearest other test image, by cosine, differs between float and int8.

    Args:
        paths: test images
        fp32: vectors of the float network, n x K
        int8: vectors of the int8 network, n x K
    """
    comparisons = [
        ImageComparison(
            index,
            path,
            f"nearest {paths[before].name}",
            f"nearest {paths[after].name}",
            bool(before != after),
            1 - cosine,
        )
        for index, (path, before, after, cosine) in enumerate(
            zip(paths, _nearest_index(fp32), _nearest_index(int8), cosine_similarity(fp32, int8).tolist(), strict=True)
        )
    ]
    return DisagreementSection.render(
        rank_comparisons(comparisons, "where the answer is the nearest other test image"),
        lambda comparison: read_thumbnail(comparison.path),
    )


def _nearest_index(vectors: NDArray[Any]) -> NDArray[Any]:
    """Index of the nearest other row by cosine, for each row; a single row is its own nearest."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
    similarity = units @ units.T
    np.fill_diagonal(similarity, -np.inf)
    return np.asarray(similarity.argmax(axis=1))
