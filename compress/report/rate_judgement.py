"""Judgements of rates: false alarms, errors and detections, from counts and their exact intervals."""

from __future__ import annotations

import msgspec
from scipy import stats

from ..evaluation.conformal_threshold import AnomalyThreshold
from ..evaluation.results import CountOfTotal
from . import sample_proof
from .judgement import Judgement

SIGNIFICANCE = 0.05  # a rate misses its goal only if so many events are less probable than this at the wished rate


def judge_rate(
    name: str, asked: float, events: CountOfTotal, trials: str, threshold: msgspec.Struct | None = None
) -> Judgement:
    """Judge the rate of something unwanted.

    It is missed by a one-sided binomial test. It is met only if the trials, or the images that the threshold was chosen
    on, are enough to prove such a rate.

    Args:
        name: key of the wish
        asked: largest rate
        events: unwanted events among the trials
        trials: what was counted
        threshold: the decision threshold, if its own sample guarantees a rate
    """
    chosen_on = threshold if isinstance(threshold, AnomalyThreshold) else None
    guaranteed = chosen_on is not None and chosen_on.rate_bound <= asked
    required = sample_proof.trials_to_bound(asked)
    needed = f"{required:,} independent {trials}"
    if not events.total:
        return Judgement(name, asked, None, None, f"there are no {trials} to measure it with", needed)
    rate, why = events.rate or 0.0, f"{events.count:,} of {events.total:,} {trials}"
    if stats.binom.sf(events.count - 1, events.total, asked) < SIGNIFICANCE:
        return Judgement(name, asked, rate, False, why)
    resemblance = 1.0  # independent images per image: images of one group repeat each other
    if chosen_on is not None and chosen_on.effective_sample_size:
        resemblance = chosen_on.effective_sample_size / chosen_on.images
    independent = events.total * resemblance
    if not guaranteed and independent < required:
        if resemblance < 1:
            why += f", which count as {independent:.3g} independent ones"
        return Judgement(name, asked, rate, None, why, needed)
    if rate > asked:
        why += ", too few to tell this from what was asked"
    return Judgement(name, asked, rate, True, why)


def judge_detections(asked: float, found: CountOfTotal, trials: str) -> Judgement:
    """Judge `min_detection_rate`: met only if the whole exact 95 % interval of the rate is at least what was asked."""
    if not found.total or found.rate is None or found.interval is None:
        fewest = sample_proof.trials_to_reach(asked, 1.0)
        needed = "" if fewest is None else f"{fewest:,} {trials}, all of them found"
        return Judgement("min_detection_rate", asked, None, None, f"there are no {trials} to measure it with", needed)
    low, high = found.interval
    why = f"{found.count:,} of {found.total:,} {trials}, 95 % interval {low:.3g} to {high:.3g}"
    if found.rate < asked or low >= asked:
        return Judgement("min_detection_rate", asked, found.rate, low >= asked, why)
    enough = sample_proof.trials_to_reach(asked, found.rate)
    needed = "" if enough is None else f"{enough:,} {trials} at this rate"
    return Judgement("min_detection_rate", asked, found.rate, None, why, needed)
