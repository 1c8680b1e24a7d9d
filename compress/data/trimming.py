"""Robust fit: the most unusual images of the part `fit` are left out of the fit.

Some images of a folder of good ones are defective, mislabeled, or unlike all others. They widen what the model takes
for normal. If at least MIN_SUSPECT_SHARE of the images look defective, a model is fitted to those that a first model of
the others finds usual, as in the reweighted estimators of robust statistics (Rousseeuw and Van Driessen, "A Fast
Algorithm for the Minimum Covariance Determinant Estimator", 1999). A group of which more than half is unusual is
another kind of good parts, so it stays.

Only images of `fit` decide (audit/suspected_defects.py). All other parts stay as they are: without its unusual images,
the threshold part would promise too much. With a keep list a person has judged the images, and all of them are used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .audit import suspected_defects
from .audit.findings import AuditResult

MIN_SUSPECT_SHARE = 0.015  # of the images; clean sets have up to 0.012, but ball screws 0.06
MIN_KIND_IMAGES = 3  # images of a group that may be another kind of good parts


def find_unusual(fit: Sequence[Path], groups: Mapping[Path, str], audit: AuditResult) -> list[Path]:
    """The images of `fit` that a robust fit leaves out; none if there are few images.

    Args:
        fit: good images that a model would be fitted to
        groups: group of each image
        audit: its result has the features of the images
    """
    checked = [path for path in fit if path in audit.cells]
    if len(checked) < suspected_defects.MIN_IMAGES:
        return []
    deviations = suspected_defects.cross_validated_deviations([audit.cells[path] for path in checked])
    left_out = select_unusual(deviations, [groups[path] for path in checked])
    return [path for path, out in zip(checked, left_out, strict=True) if out]


def select_unusual(
    deviations: NDArray[Any], groups: Sequence[str], limit: float = suspected_defects.UNUSUAL_DEVIATIONS
) -> NDArray[np.bool_]:
    """Which images a robust fit leaves out.

    Args:
        deviations: of n images, from `cross_validated_deviations`
        groups: group of each image
        limit: the deviation from which an image is unusual
    """
    suspected = deviations > suspected_defects.suspect_limit(len(deviations))
    if suspected.mean() < MIN_SUSPECT_SHARE:
        return np.zeros(len(deviations), bool)
    unusual = deviations > limit
    sizes = Counter(groups)
    counts = Counter(group for group, each in zip(groups, unusual, strict=True) if each)
    is_kind = [sizes[group] >= MIN_KIND_IMAGES and counts[group] > sizes[group] / 2 for group in groups]
    return np.asarray(unusual & ~np.array(is_kind))
