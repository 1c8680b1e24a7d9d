"""What so many images can vouch for, beside what a goal asks: with a build's own bounds."""

from __future__ import annotations

from math import ceil

import msgspec

from ..data.audit.sample_size import SampleSize
from ..data.split import SPLIT_FRACTIONS
from ..report.sample_proof import trials_to_bound, trials_to_reach

FEW_IMAGES = 20
"""Below it, nothing is divided, and nothing is proven (docs/goal.md, few images)."""


class Promises(msgspec.Struct, frozen=True):
    """What the images allow to prove; the rates are fractions."""

    good: int
    defective: int
    threshold: int
    """Good images that will set the threshold."""
    good_test: int
    smallest_false_alarm_rate: float | None
    """No smaller one can be proven with 95 % confidence; None: none at all."""
    auroc_half_width: float | None
    """Half the width of the 95 % interval at an AUROC of 0.9; None: it cannot be measured."""
    largest_detection_rate: float | None
    """No larger one can be proven, even if every defective image is found; None: none at all."""


def count_promises(good: int, defective: int) -> Promises:
    """What the images of a goal without a fixed test set allow.

    Args:
        good: kept images of good parts
        defective: kept images of defective parts
    """
    if good < FEW_IMAGES:
        return Promises(good, defective, 0, 0, None, None, _largest_detection_rate(defective))
    threshold, test = (round(SPLIT_FRACTIONS[part] * good) for part in ("threshold", "test"))
    size = SampleSize(threshold, test, defective)
    return Promises(
        good,
        defective,
        threshold,
        test,
        size.smallest_false_alarm_rate,
        size.auroc_half_width,
        _largest_detection_rate(defective),
    )


def good_images_for(rate: float) -> int:
    """Good images that a folder must hold so that its threshold part can prove a false-alarm rate."""
    return ceil(trials_to_bound(rate) / SPLIT_FRACTIONS["threshold"])


def defective_images_for(rate: float) -> int | None:
    """Defective images that prove a detection rate if all of them are found; None: no number does."""
    return trials_to_reach(rate, 1.0)


def _largest_detection_rate(defective: int) -> float | None:
    return float(0.025 ** (1 / defective)) if defective else None
