"""Two releases of a model on the same images: which errors the new one no longer makes, and which it makes anew.

Both judge every image at their own thresholds, so the comparison is paired. Images of one group (one part, one day)
resemble each other, so a group counts once: for the release that makes fewer errors in it, or for neither. If the
releases were equally good, each would win half of the groups that differ. The exact interval of the new release's share
(Clopper and Pearson, 1934) says whether that can be excluded; four measures share the risk of 5 % (Bonferroni).

Corrections that are kept aside are no fair sample: the old release chose each false alarm by raising it. Any change
looks better on them than it is on new parts. So they show what was learned, but the new release is called better for
them only if it makes no more errors than the old one on the test images.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .results import CountOfTotal, Measurement

Outcome = Literal["better", "worse", "mixed", "not shown"]
RISK, MEASURES = 0.05, 4
_WORDS: dict[str, str] = {
    "better": "The new release is better",
    "worse": "The new release is worse",
    "mixed": "The new release is better in one respect and worse in another",
    "not shown": "It is not shown that the new release is better",
}


class ComparedErrors(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of error of both releases on one list of images."""

    title: str
    kept_aside: bool
    """The images are corrections that were kept aside; otherwise test images."""
    images: int
    groups: int
    previous: int
    """Images that the previous release gets wrong."""
    new: int
    fewer: int
    """Groups in which the new release makes fewer errors."""
    more: int
    """Groups in which it makes more."""
    interval: tuple[float, float] | None
    """Interval of the share of `fewer` in the groups that differ; None if none differs."""

    @property
    def outcome(self) -> Outcome:
        """Whether the interval excludes that both are equally good."""
        if self.interval is None or self.interval[0] <= 0.5 <= self.interval[1]:
            return "not shown"
        return "better" if self.interval[0] > 0.5 else "worse"


class ReleaseComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A new release beside the previous one."""

    previous: str
    """`Manifest.model_id` of the previous release."""
    previous_release: int
    release: int
    measures: tuple[ComparedErrors, ...]
    auroc_previous: float | None
    auroc: float | None
    auroc_difference: Measurement
    """New less previous, on the test images; with its paired interval."""
    left_out: int
    """Images that the previous release was made with: they would favour it."""
    knows_images: bool
    """Whether the previous release's report names its images."""

    @property
    def outcome(self) -> Outcome:
        """The whole: nothing may be worse, and errors on the test images may not become more."""
        found = {measure.outcome for measure in self.measures}
        if "worse" in found:
            return "mixed" if "better" in found else "worse"
        tested = [measure for measure in self.measures if not measure.kept_aside]
        if any(measure.outcome == "better" for measure in tested):
            return "better"
        if "better" in found and sum(each.new for each in tested) <= sum(each.previous for each in tested):
            return "better"
        return "not shown"

    @property
    def statement(self) -> str:
        """The outcome and what it rests on, in words."""
        shown = [each for each in self.measures if each.outcome != "not shown"]
        reasons = [f"{each.title}: {each.new} of {each.images} instead of {each.previous}" for each in shown]
        if not reasons:
            differing = sum(each.fewer + each.more for each in self.measures)
            what = "1 group of images differs" if differing == 1 else f"{differing} groups of images differ"
            reasons = [f"{what}, too few or too balanced to tell the releases apart"]
        elif self.outcome == "not shown":
            reasons.append("but it makes more errors on the test images")
        return f"{_WORDS[self.outcome]} than release {self.previous_release}: {'; '.join(reasons)}."

    def to_json(self) -> dict[str, Any]:
        """For `report.json` and `vedette build --json`."""
        return {
            "previous": self.previous,
            "release": self.release,
            "outcome": self.outcome,
            "statement": self.statement,
            "measures": [
                msgspec.to_builtins(each) | {"outcome": each.outcome} | _rate_intervals(each) for each in self.measures
            ],
            "auroc_previous": self.auroc_previous,
            "auroc": self.auroc,
            "auroc_difference": self.auroc_difference.value,
            "auroc_difference_interval": self.auroc_difference.interval,
            "left_out": self.left_out,
            "knows_images": self.knows_images,
        }


def _rate_intervals(errors: ComparedErrors) -> dict[str, Any]:
    """The 95 % intervals of both error rates."""
    counts = {"previous": errors.previous, "new": errors.new}
    return {f"{name}_rate_interval": CountOfTotal(count, errors.images).interval for name, count in counts.items()}


def compare_errors(
    title: str,
    previous: NDArray[np.bool_],
    new: NDArray[np.bool_],
    groups: Sequence[Hashable],
    kept_aside: bool,
) -> ComparedErrors:
    """The errors of two releases on the same images.

    Args:
        title: what is wrong with these images, such as `false alarms on test images`
        previous: which images the previous release gets wrong
        new: which the new one gets wrong
        groups: group of each image
        kept_aside: whether they are corrections
    """
    balance: dict[Hashable, int] = {}
    for group, before, after in zip(groups, previous.tolist(), new.tolist(), strict=True):
        balance[group] = balance.get(group, 0) + before - after
    fewer, more = sum(each > 0 for each in balance.values()), sum(each < 0 for each in balance.values())
    interval = None
    if fewer + more:
        found = stats.binomtest(fewer, fewer + more).proportion_ci(1 - RISK / MEASURES, "exact")
        interval = float(found.low), float(found.high)
    return ComparedErrors(
        title=title,
        kept_aside=kept_aside,
        images=len(previous),
        groups=len(balance),
        previous=int(previous.sum()),
        new=int(new.sum()),
        fewer=fewer,
        more=more,
        interval=interval,
    )
