"""The limits by which an attribute study is judged.

The defaults are those of AIAG's MSA manual (4th edition, chapter III, section C): effectiveness 90 % and 80 %, miss
rate 2 % and 5 %, false-alarm rate 5 % and 10 %; kappa over 0.75 is good agreement, under 0.40 poor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

Judgement = Literal["accept", "marginal", "reject"]
_ROUNDING = 1e-9  # a share of exactly the limit meets it
_ORDER: tuple[Judgement, ...] = ("accept", "marginal", "reject")
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class StudyLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two limits of each figure: up to the first it is accepted, up to the second it is marginal."""

    effectiveness: tuple[_Share, _Share] = (0.90, 0.80)
    """At least so much."""
    miss: tuple[_Share, _Share] = (0.02, 0.05)
    """At most so much."""
    false_alarm: tuple[_Share, _Share] = (0.05, 0.10)
    """At most so much."""
    kappa: tuple[_Share, _Share] = (0.75, 0.40)
    """At least so much."""


def judge_share(share: float, limits: tuple[float, float]) -> Judgement:
    """The judgment of a share; limits that fall from the first to the second are lower limits."""
    good, fair = limits
    distance = share - good, share - fair
    if good >= fair:
        return "accept" if distance[0] >= -_ROUNDING else "marginal" if distance[1] >= -_ROUNDING else "reject"
    return "accept" if distance[0] <= _ROUNDING else "marginal" if distance[1] <= _ROUNDING else "reject"


def judge_kappa(value: float | None, limits: StudyLimits) -> Judgement | None:
    """The judgment of a kappa; None if it is undefined."""
    return None if value is None else judge_share(value, limits.kappa)


def worst_judgement(judgements: Iterable[Judgement | None]) -> Judgement:
    """The worst of some judgments; what could not be judged does not count."""
    return max((each for each in judgements if each is not None), key=_ORDER.index, default="marginal")
