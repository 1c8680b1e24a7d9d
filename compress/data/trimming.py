"""Robust fit: the most unusual images of the part `fit` are left out of the fit.

Some images of a folder of good ones are defective, mislabeled, or unlike all others. They widen what the model takes
for normal. So a model is fitted to the images that a first model of the others finds usual, as in the reweighted
estimators of robust statistics (Rousseeuw and Van Driessen, "A Fast Algorithm for the Minimum Covariance Determinant
Estimator", 1999). Only images of `fit` decide, by cross-validation (audit/suspected_defects.py). All other parts stay
as they are: without its unusual images, the threshold part would promise too much.

With a keep list a person has judged the images, and all of them are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .audit import suspected_defects
from .audit.findings import AuditResult


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
    deviations = suspected_defects.cross_validated_deviations(
        [audit.cells[path] for path in checked], [groups[path] for path in checked]
    )
    return [
        path
        for path, deviation in zip(checked, deviations.tolist(), strict=True)
        if deviation > suspected_defects.UNUSUAL_DEVIATIONS
    ]
