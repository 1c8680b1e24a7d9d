"""p-values of scores: their calibration on held-out good images, and whether good test images bear it out.

If the calibration holds, p-values of good parts are uniform: a share of at most a has a p-value of at most a. The test
of Kolmogorov and Smirnov for two samples compares the scores of both lists of images, so that it allows for the chance
in the calibration itself.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vedette.runtime.calibration.good_scores import GoodScores

from .results import CountOfTotal

LEVEL = 0.1


class HeldOutScores(msgspec.Struct, frozen=True):
    """Scores of the good images that the threshold was chosen on, and the calibration that follows from them."""

    scores: NDArray[Any]
    calibration: GoodScores


class PValueCheck(msgspec.Struct, frozen=True):
    """How uniform the p-values of good test images are."""

    distance: float
    """Largest difference between the distributions of both lists of scores."""
    probability: float
    """Probability of at least this distance if good test parts are like those of the calibration."""
    level: float
    share: float
    """Share of the good test images with a p-value of at most `level`."""
    interval: tuple[float, float]
    """Exact 95 % interval of that share."""


def check_p_values(held_out: HeldOutScores, test: NDArray[Any]) -> PValueCheck:
    """Compare the p-values of good test images with uniform ones.

    Args:
        held_out: the calibration
        test: scores of good test images, at least one
    """
    comparison = stats.ks_2samp(held_out.scores, test)
    values = np.array([held_out.calibration.p_value(score) for score in test])
    low = CountOfTotal(int((values <= LEVEL).sum()), len(values))
    return PValueCheck(
        distance=float(comparison.statistic),
        probability=float(comparison.pvalue),
        level=LEVEL,
        share=low.rate or 0.0,
        interval=low.interval or (0.0, 1.0),
    )
