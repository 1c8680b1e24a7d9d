"""Judgement of the security review: its most severe finding, and false alarms under the worst corruption."""

from __future__ import annotations

from scipy import stats

from ..goal.goal_tables import Targets
from ..review.finding import SEVERITIES, Review
from .judgement import Judgement
from .rate_judgement import SIGNIFICANCE


def judge_review(wish: Targets, review: Review) -> list[Judgement]:
    """Judge the review by its most severe finding, and by the false alarms under the worst corruption."""
    judgements = []
    if (most := wish.max_review_severity) is not None:
        found = review.severity
        met = SEVERITIES.index(found) <= SEVERITIES.index(most)
        why = "" if met else review.findings[0].what
        judgements.append(Judgement("max_review_severity", most, found, met, why))
    if (asked := wish.max_false_alarm_shift) is not None:
        if review.worst_shift is None:
            why = "there are no images with labels to count false alarms on"
            judgements.append(Judgement("max_false_alarm_shift", asked, None, None, why))
        else:
            clean, worst = review.worst_shift
            rate = clean.false_alarms_int8 / clean.of_int8
            chance = stats.binom.sf(worst.false_alarms_int8 - 1, worst.of_int8, min(1.0, rate + asked))
            why = f"{worst.corruption} {worst.setting}: {worst.false_alarms_int8} of {worst.of_int8}"
            met = bool(chance >= SIGNIFICANCE)
            judgements.append(Judgement("max_false_alarm_shift", asked, review.false_alarm_shift, met, why))
    return judgements
