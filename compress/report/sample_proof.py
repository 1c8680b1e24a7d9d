"""How many test images a wish takes before they can prove it.

A rate of false alarms or errors is proven to be at most p, with confidence 1 - RISK, by n trials without a single event
if (1 - p) ** n <= RISK: 299 for 1 %. With fewer trials no outcome proves it, so such a sample vouches for nothing,
however good its figure looks. A rate of detections is proven to be at least p if the lower end of its exact 95 %
interval (Clopper and Pearson, 1934) is. An AUROC of n good and m defective images says something only if a perfect
order of them is less probable than RISK by chance alone: one of (n + m)! / (n! m!) orders.

All counts are of independent images.
"""

from __future__ import annotations

from math import ceil, comb, floor, log, log1p

from scipy import stats

from vedette.runtime.calibration.independent_threshold import RISK

MAX_IMAGES = 10_000_000  # beyond it, "how many" is "more than can be had"


def trials_to_bound(rate: float) -> int:
    """Trials without an event that prove that events are at most as frequent as `rate`, with confidence 1 - `RISK`."""
    return ceil(log(RISK) / log1p(-rate))


def trials_to_reach(asked: float, rate: float) -> int | None:
    """The fewest trials whose interval lies above `asked` if the share `rate` of them succeeds.

    None: `rate` is not above `asked`, or so little that no reasonable number suffices.
    """
    if rate <= asked:
        return None

    def suffices(total: int) -> bool:
        hits = floor(rate * total + 1e-9)
        return bool(stats.beta.ppf(0.025, hits, total - hits + 1) >= asked) if hits else False

    high = 1
    while not suffices(high):
        high *= 2
        if high > MAX_IMAGES:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def order_shows_difference(good: int, defective: int) -> bool:
    """Whether so many images can tell an AUROC from chance: a perfect order of them is less probable than `RISK`."""
    return comb(good + defective, defective) >= 1 / RISK  # not multiplied: the number may be too large for a float


def defective_to_show_difference(good: int) -> int | None:
    """The fewest defective images beside so many good ones with `order_shows_difference`; None without good ones."""
    if not good:
        return None
    return next(defective for defective in range(1, 20) if order_shows_difference(good, defective))
