"""The table of thresholds: how many good test images raise an alarm, and how many defective ones are found.

The rows are the lowest thresholds with 0, 1, 2, 5, 10 … false alarms, the one that the bundle uses, the one with the
best F1, and the highest that misses no defective image. They are read off the test images, so the row that looks best
is a little too good for new parts; only the threshold of the bundle was chosen on other images.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..evaluation.results import CountOfTotal

FALSE_ALARM_STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
MAX_FALSE_ALARM_RATE = 0.5  # thresholds beyond it interest nobody


class ThresholdRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a threshold does to the test images."""

    threshold: float
    what: str
    """Why this threshold is listed."""
    false_alarms: int
    false_alarm_rate: float | None
    false_alarm_interval: tuple[float, float] | None
    """Exact 95 % interval."""
    detected: int
    detection_rate: float | None
    detection_interval: tuple[float, float] | None
    f1: float | None
    """With the defective test images as positives; None without them or without good ones."""


def list_thresholds(good: NDArray[Any], defect: NDArray[Any], chosen: float) -> list[ThresholdRow]:
    """Rows by falling threshold; several reasons for one threshold are joined.

    Args:
        good: scores of the good test images
        defect: scores of the defective ones
        chosen: threshold of the bundle
    """
    levels = np.unique(np.concatenate([good, defect]).astype(float))
    if not len(levels):
        return []
    # A threshold between two neighboring scores, and one above all of them.
    between = np.append((levels[:-1] + levels[1:]) / 2, levels[-1] + max(float(levels[-1]) * 0.01, 1e-6))
    descending = np.sort(good)[::-1]
    reasons: dict[float, list[str]] = {float(chosen): ["of the bundle"]}

    def add(threshold: float, reason: str) -> None:
        reasons.setdefault(threshold, []).append(reason)

    for count in FALSE_ALARM_STEPS:
        if count < len(good) and count <= MAX_FALSE_ALARM_RATE * len(good):
            above = levels.searchsorted(descending[count])
            add(float(between[above]), f"{count or 'no'} false alarm{'' if count == 1 else 's'}")
    if len(defect):
        lowest = levels.searchsorted(defect.min())
        add(float(between[lowest - 1]) if lowest else float(levels[0]), "no defect missed")
    if len(good) and len(defect):
        candidates = [float(levels[0]), *map(float, between)]
        add(max(candidates, key=lambda threshold: _row(threshold, "", good, defect).f1 or 0.0), "best F1")
    rows = [_row(threshold, ", ".join(texts), good, defect) for threshold, texts in reasons.items()]
    return sorted(rows, key=lambda row: -row.threshold)


def _row(threshold: float, what: str, good: NDArray[Any], defect: NDArray[Any]) -> ThresholdRow:
    alarms, found = (CountOfTotal(int((scores >= threshold).sum()), len(scores)) for scores in (good, defect))
    both = len(good) and len(defect)
    return ThresholdRow(
        threshold=threshold,
        what=what,
        false_alarms=alarms.count,
        false_alarm_rate=alarms.rate,
        false_alarm_interval=alarms.interval,
        detected=found.count,
        detection_rate=found.rate,
        detection_interval=found.interval,
        f1=2 * found.count / (found.count + alarms.count + found.total) if both else None,
    )
