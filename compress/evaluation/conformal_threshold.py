"""Conformal anomaly threshold from held-out good images, and the false-alarm rate that it guarantees.

For unseen good parts from the same distribution as these n, the rate above the k-th smallest score has a Beta(n + 1 -
k, k) distribution, whatever the distribution of the scores (Vovk, "Conditional validity of inductive conformal
predictors", 2012); ties only make the rate smaller. The 1 - RISK quantile of that distribution is the stated bound, and
the threshold is the lowest score whose bound meets the target rate. No score does with fewer than log RISK / log(1 -
target) images, 299 for 1 %. Then the threshold lies above all scores. From MIN_TAIL_SCORES images on, it lies where
runtime/calibration/extreme_value_tail.py extrapolates the target rate to, if that is higher still. The bound remains
what the images alone guarantee; only the interval then depends on the model of the tail.

Images of one group resemble each other, and future images come from other groups. The resemblance is measured by the
intraclass correlation of the upper half of the scores, as ranks turned into normal scores, so that groups with a larger
spread count as much as groups with a shift. Its upper confidence limit is that of the one-way analysis of variance
(Searle, "Linear Models", 1971). With the design effect (Kish, "Survey Sampling", 1965) it turns n images into a smaller
effective sample size, and the bound is that of so many independent images, as Korn and Graubard do for counts
("Confidence intervals for proportions with small expected number of positive counts estimated from survey data", 1998).
Limit and bound take half of the risk each.

This is imprecise: a kind of group that was never seen is not covered, and G groups cannot exclude that it is 1 - RISK
** (1 / G) of all groups. If the groups are too few for the target, the threshold is chosen as if all images were
independent: above all scores, a single unusual image would decide it and cost detections, and still prove nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import ceil, inf, log, log1p
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import special

from vedette.runtime.calibration import extreme_value_tail
from vedette.runtime.calibration.good_scores import MIN_TAIL_SCORES
from vedette.runtime.calibration.independent_threshold import RISK, place_between_scores


class AnomalyThreshold(msgspec.Struct, frozen=True):
    """A threshold between good and anomalous scores, and the rate of unseen good parts that it guarantees."""

    score: float
    target_rate: float = msgspec.field(name="wished")
    """Share of good parts that may be at or above the threshold."""
    expected_rate: float = msgspec.field(name="promised")
    """Expected share of good parts at or above it, on average over such samples."""
    rate_bound: float = msgspec.field(name="bound")
    """Upper bound of that share with confidence 1 - `risk`, for any distribution of the scores."""
    risk: float
    rate_interval: tuple[float, float] = msgspec.field(name="interval")
    """Interval of that share, with `risk` at each end; from the tail model if the method is "extreme value"."""
    images: int
    groups: int
    """Number of groups; that of the images if they have none."""
    effective_sample_size: float = msgspec.field(name="worth")
    """Number of independent images with the same information."""
    required_images: int = msgspec.field(name="enough")
    """Number of independent images that the target rate requires."""
    method: Literal["conformal", "extreme value", "above all", "few images"]

    @property
    def target_proven(self) -> bool:
        """Whether the bound meets the target rate."""
        return self.rate_bound <= self.target_rate

    @property
    def statement(self) -> str:
        """The guarantee in words, for the report."""
        grouped = self.groups < self.images
        confidence = format_percent(1 - self.risk)
        in_groups = f" in {self.groups} group{'' if self.groups == 1 else 's'}" if grouped else ""
        sentences = [
            f"The threshold was set with {self.images} good images{in_groups} that nothing else had used.",
            f"The goal is that at most {format_percent(self.target_rate)} of good parts raise an alarm.",
        ]
        if grouped:
            sentences.append(
                "Images of one group resemble each other: for parts of new groups they count as "
                f"{self.effective_sample_size:.1f} independent ones."
            )
        condition = "new groups differ as these do" if grouped else "new parts are like these"
        sentences.append(
            f"As long as {condition}, at most {format_percent(self.rate_bound)} of good parts raise an alarm with "
            f"{confidence} confidence, and {format_percent(self.expected_rate)} on average."
        )
        if self.method == "extreme value":
            low, high = map(format_percent, self.rate_interval)
            sentences.append(
                "The threshold lies above all of their scores, at the point where an extreme-value tail, fitted to the "
                "highest quarter of the scores, reaches the goal. That is an extrapolation: only by this model is the "
                f"rate {low} to {high}."
            )
        elif self.method == "above all":
            sentences.append("The threshold lies just above all of their scores.")
        if not self.target_proven:
            sentences.append(
                f"The sample is too small for the goal, which takes {self.required_images} independent good images."
            )
        if not self.target_proven and grouped:
            sentences.append(
                f"{self.groups} group{' is' if self.groups == 1 else 's are'} too few; the threshold lies where it "
                "would lie for independent images."
            )
        if grouped:
            unseen = format_percent(1 - self.risk ** (1 / self.groups))
            sentences.append(f"A kind of group that was not seen may still be up to {unseen} of all groups.")
        return " ".join(sentences)


def choose_threshold(
    scores: NDArray[Any],
    step: float,
    target_rate: float,
    groups: Sequence[Hashable] | None = None,
    max_score: float = inf,
) -> AnomalyThreshold:
    """The lowest threshold that meets the target rate with confidence 1 - `RISK`, or the nearest possible.

    Args:
        scores: scores of good images, multiples of `step`
        step: smallest difference between two scores; the threshold lies half a step above a score, so that the rounding
            of a back end does not decide
        target_rate: share of good parts that may raise an alarm
        groups: group of each score, if there are any; only whole groups are exchangeable
        max_score: highest possible score; the threshold stays below it
    """
    ordered = np.sort(np.asarray(scores, float))
    count = len(ordered)
    names = list(range(count)) if groups is None else groups
    grouped = len(set(names)) < count
    risk = RISK / 2 if grouped else RISK
    sample_size = _effective_sample_size(np.asarray(scores, float), names, risk) if grouped else float(count)

    allowed = _count_allowed_exceedances(target_rate, count, sample_size, risk)
    allowed = allowed or _count_allowed_exceedances(target_rate, count, count, RISK)
    above = max(allowed - 1, 0)
    bound = _exceedance_bound(above, count, sample_size, 1 - risk)
    threshold = AnomalyThreshold(
        score=float(ordered[count - 1 - above] + step / 2),
        target_rate=target_rate,
        expected_rate=(above * sample_size / count + 1) / (sample_size + 1),
        rate_bound=bound,
        risk=RISK,
        rate_interval=(_exceedance_bound(above, count, sample_size, risk), bound),
        images=count,
        groups=len(set(names)),
        effective_sample_size=sample_size,
        required_images=ceil(log(risk) / log1p(-target_rate)),
        method="conformal" if allowed else "above all",
    )
    if allowed or sample_size < MIN_TAIL_SCORES or (tail := extreme_value_tail.fit_tail(ordered)) is None:
        return threshold
    extrapolated = min(tail.quantile(target_rate), max_score - step)
    score = place_between_scores(extrapolated, step)
    if score <= threshold.score:
        return threshold
    low, high = tail.rate_interval(extrapolated, sample_size / count, RISK)
    rate_interval = (min(low, bound), min(high, bound))
    return msgspec.structs.replace(threshold, score=score, rate_interval=rate_interval, method="extreme value")


def _count_allowed_exceedances(target_rate: float, count: int, sample_size: float, risk: float) -> int:
    """Number of exceedances whose bound meets the target rate."""
    return int((_exceedance_bounds(np.arange(count), count, sample_size, 1 - risk) <= target_rate).sum())


def _exceedance_bound(above: int, count: int, sample_size: float, confidence: float) -> float:
    return float(_exceedance_bounds(np.array(above), count, sample_size, confidence))


def _exceedance_bounds(above: NDArray[Any], count: int, sample_size: float, confidence: float) -> NDArray[Any]:
    """Upper bound of the true rate above the threshold, if `above` of `count` scores lie above it."""
    exceedances = above * sample_size / count
    return np.asarray(special.betaincinv(exceedances + 1, sample_size - exceedances, confidence))


def _effective_sample_size(scores: NDArray[Any], names: Sequence[Hashable], risk: float) -> float:
    """Lower confidence limit of the number of independent scores with the same information.

    Args:
        scores: n scores
        names: group of each score
        risk: probability that the true number is lower
    """
    indices = {name: index for index, name in enumerate(dict.fromkeys(names))}
    group = np.array([indices[name] for name in names])
    sizes = np.bincount(group)
    count, groups = len(scores), len(sizes)
    mean_size = float((sizes**2).sum() / count)  # size of the group of a score, on average over the scores
    if groups == 1:
        return 1.0
    positions, counts = np.unique(scores, return_inverse=True, return_counts=True)[1:]
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[positions]
    upper = np.maximum(special.ndtri(ranks / (count + 1)), 0.0)

    means = np.bincount(group, upper) / sizes
    between = float((sizes * (means - upper.mean()) ** 2).sum() / (groups - 1))
    within = float(((upper - means[group]) ** 2).sum() / (count - groups))
    if within == 0:
        return count / mean_size if between > 0 else float(groups)
    quantile = float(special.fdtri(groups - 1, count - groups, risk))
    ratio = between / within / quantile
    size = (count - mean_size) / (groups - 1)
    correlation = min(max((ratio - 1) / (ratio - 1 + size), 0.0), 1.0)
    return count / (1 + (mean_size - 1) * correlation)


def format_percent(share: float) -> str:
    """A share in percent, as the statements give it."""
    return f"{100 * share:.3g} %"
