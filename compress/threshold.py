"""Where to draw the line, from good images that nothing has been fitted to.

If tomorrow's good parts are like these n, the share of them above the k-th smallest score is at most (n + 1 - k) / (n
+ 1) on average (conformal prediction; Vovk, "Conditional validity of inductive conformal predictors", 2012). For a
wish smaller than 1 / (n + 1) the sample is too small: then the line is drawn above all of them, and it is said what
that promises.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray


class Threshold(msgspec.Struct, frozen=True):
    """A line between good and anomalous."""

    score: float
    wished: float
    """Share of good parts that may be at or above it."""
    promised: float
    """Share that the sample can vouch for, on average."""
    images: int


def choose(scores: NDArray[Any], step: float, wished: float) -> Threshold:
    """The lowest threshold that keeps the wish.

    Args:
        scores: of good images, multiples of `step`
        step: the smallest difference between two scores; the threshold lies half of it above the chosen score, so that
            neither back end's rounding decides
        wished: share of good parts that may raise an alarm
    """
    ordered = np.sort(np.asarray(scores, float))
    count = len(ordered)
    rank = min(ceil((count + 1) * (1 - wished)), count)
    return Threshold(
        score=float(ordered[rank - 1] + step / 2),
        wished=wished,
        promised=(count + 1 - rank) / (count + 1),
        images=count,
    )
