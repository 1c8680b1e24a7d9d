"""Drift: whether scores have left the band in which those of the workshop's good parts lay.

A lamp that ages, a lens that gets dirty or a camera that was pushed moves the scores of all good parts, long before
they raise alarms. Each score counts as above, below or inside the band of the 10 % and the 90 % quantile. For each side
the Shiryaev-Roberts statistic adds up the evidence that more scores lie beyond it than can be for parts like those of
the build, where the rate is at most the upper confidence bound that the build's images allow. Under that hypothesis the
statistic grows by at most one a score, so the mean number of scores before a wrong report is at least LIMIT, however
often one looks (Pollak, "Optimal detection of a change in distribution", 1985; Shin, Ramdas and Rinaldo, "E-detectors",
2024).

Frames of one part resemble each other, so one score in INTERVAL_SECONDS is taken. Scores at or above the threshold are
left out: they are alarms, which defects cause too.
"""

from __future__ import annotations

from collections import deque
from math import ceil

import msgspec
import numpy as np

from .good_scores import BAND, GoodScores
from .independent_threshold import RISK, exceedance_bound

INTERVAL_SECONDS = 5.0
LIMIT = 1e6  # scores; at one in five seconds they take two months without a break
WINDOW = 200  # scores for the shares
_ALTERNATIVES = np.array([0.1, 0.3, 0.7])  # share of the in-band scores that a drift moves out of the band


class DriftFigures(msgspec.Struct, frozen=True):
    """Whether good scores still lie where they lay in the workshop."""

    samples: int
    """Scores since the start, alarms left out."""
    share_above: float
    """Share of the last scores above the band; about 0.1 is usual."""
    share_below: float
    evidence: float
    """Statistic of the test as a fraction of its limit; 1 and more: the scores have drifted."""

    @property
    def drifted(self) -> bool:
        return self.evidence >= 1


class DriftMonitor:
    """Follows the scores of one camera.

    Args:
        good: scores of the build's good images, or of a recalibration
        threshold: score from which a part raises an alarm
    """

    def __init__(self, good: GoodScores, threshold: float) -> None:
        self.band, self.threshold = good.band, threshold
        beyond = ceil(BAND[0] * good.images)
        rate = exceedance_bound(beyond, good.images, 1 - RISK)
        alternatives = rate + _ALTERNATIVES * (1 - rate)
        self.ratio_beyond = alternatives / max(rate, 1e-12)
        self.ratio_inside = (1 - alternatives) / max(1 - rate, 1e-12)
        self.statistics = np.zeros((2, len(_ALTERNATIVES)))
        self.samples = 0
        self.last: deque[tuple[bool, bool]] = deque(maxlen=WINDOW)
        self.last_moment = float("-inf")

    def add(self, moment: float, score: float) -> None:
        """Adds the score of a frame.

        Args:
            moment: time of the frame, seconds of a clock that never steps
            score: score of the frame
        """
        if score >= self.threshold or 0 <= moment - self.last_moment < INTERVAL_SECONDS:
            return
        self.last_moment = moment
        self.samples += 1
        sides = score > self.band[1], score < self.band[0]
        self.last.append(sides)
        ratios = np.where(np.array(sides)[:, None], self.ratio_beyond, self.ratio_inside)
        self.statistics = np.minimum((self.statistics + 1) * ratios, 10 * LIMIT * self.statistics.size)

    def figures(self) -> DriftFigures:
        """The present figures; any thread may call it."""
        shares = np.mean(list(self.last), axis=0) if self.last else np.zeros(2)
        evidence = float(f"{self.statistics.mean() / LIMIT:.3g}")
        return DriftFigures(self.samples, float(shares[0]), float(shares[1]), evidence)
