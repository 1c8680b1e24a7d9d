"""What another threshold would have done with the scores of the last day.

It counts alarms as the rule `presence` does: one opens with a score at or above the threshold, lasts while scores stay
above the release, and is one alarm however long it lasts. Alarms that begin within one entry of the history (5 s) count
as one, so at many alarms a minute the count is too low.
"""

from __future__ import annotations

import msgspec
import numpy as np

from .score_history import SAMPLE_SECONDS
from .scores import Scores

DAY_SECONDS = 86_400.0


class ReplayedThreshold(msgspec.Struct, frozen=True):
    """The alarms that a threshold would have raised."""

    threshold: float
    alarms: int
    hours: float
    """For how long the camera was watched in that time."""
    per_hour: float | None
    """Alarms an hour; None: it was watched for less than an hour, which says too little."""


def replay_threshold(
    scores: Scores,
    threshold: float,
    hysteresis: float = 0.1,
    cooldown: float = 0.0,
    seconds: float = DAY_SECONDS,
) -> ReplayedThreshold:
    """The alarms that another threshold would have raised in the last `seconds` of the history.

    Args:
        scores: of one model (`Scores.of_model`); scores of two models do not compare
        threshold: an alarm begins at this score
        hysteresis: it ends below threshold * (1 - hysteresis), as the key of the rule says
        cooldown: seconds after an alarm in which no other one begins
        seconds: how far back from the newest score
    """
    recent = scores.since(seconds)
    hours = recent.watched_seconds() / 3600
    release = threshold * (1 - hysteresis)
    alarms, is_open, quiet_until = 0, False, float("-inf")
    relevant = np.flatnonzero((recent.peak >= threshold) | (recent.last >= release))
    previous = -2
    for index in relevant.tolist():
        taken = float(recent.taken[index])
        if is_open and index != previous + 1:  # it ended in an entry that is not relevant
            is_open, quiet_until = False, float(recent.taken[previous]) + SAMPLE_SECONDS + cooldown
        previous = index
        if recent.peak[index] >= threshold and not is_open and taken >= quiet_until:
            alarms, is_open = alarms + 1, True
        if is_open and recent.last[index] < release:
            is_open, quiet_until = False, taken + cooldown
    return ReplayedThreshold(threshold, alarms, hours, alarms / hours if hours >= 1 else None)
