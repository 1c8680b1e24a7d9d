"""Attribute study: can a gauge that only says good or bad be trusted? The method of AIAG's MSA manual.

Parts whose truth is known are judged several times by each appraiser (a person, or the model under one light and
position). The study says how far an appraiser agrees with itself (repeatability), with the others (reproducibility) and
with the reference (effectiveness), and how often it accepts a bad part (miss) or rejects a good one (false alarm).

Source: AIAG, "Measurement Systems Analysis", 4th edition, 2010, chapter III, section C. The manual pools the decisions
of a part into one table; so do the kappas here, but their intervals take the parts as the units (kappa.py), and the
intervals of the rates too (exact_interval.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigProblem
from .exact_interval import Interval, exact_interval, grouped_interval
from .kappa import Kappa, cohen_kappa, fleiss_kappa
from .study_limits import Judgement, StudyLimits, judge_kappa, judge_share, worst_judgement


class Decision(msgspec.Struct, frozen=True):
    """One decision of an appraiser about a part."""

    part: str
    appraiser: str
    trial: str
    accepted: bool
    reference: bool
    """Whether the part is good in truth."""


class Share(msgspec.Struct, frozen=True):
    """A share with its 95 % interval."""

    hits: int
    of: int
    share: float | None
    """None: there is no trial, for example no bad part in the study."""
    interval: Interval | None
    judgement: Judgement | None = None


class AppraiserResult(msgspec.Struct, frozen=True):
    """How one appraiser judges."""

    appraiser: str
    repeatability: Share
    """Parts about which all decisions of the appraiser agree."""
    effectiveness: Share
    """Parts about which all decisions are right."""
    miss: Share
    """Decisions about bad parts that accept them: escapes."""
    false_alarm: Share
    """Decisions about good parts that reject them."""
    within: Kappa | None
    """Fleiss' kappa of the appraiser's own trials; None: a single trial."""
    reference: Kappa
    """Cohen's kappa with the reference."""
    reference_judgement: Judgement | None
    judgement: Judgement


class PairResult(msgspec.Struct, frozen=True):
    """Agreement of two appraisers: Cohen's kappa of their decisions, trial by trial."""

    first: str
    second: str
    kappa: Kappa
    judgement: Judgement | None


class StudyResult(msgspec.Struct, frozen=True):
    """The result of an attribute study."""

    parts: int
    good: int
    bad: int
    trials: int
    appraisers: tuple[AppraiserResult, ...]
    pairs: tuple[PairResult, ...]
    between: Kappa | None
    """Fleiss' kappa of all decisions; None: a single decision about each part."""
    reproducibility: Share
    """Parts about which all decisions of all appraisers agree."""
    effectiveness: Share
    """Parts about which all decisions of all appraisers are right."""
    miss: Share
    """Escapes of all appraisers together."""
    false_alarm: Share
    """False alarms of all appraisers together."""
    limits: StudyLimits
    judgement: Judgement
    """The worst judgment of an appraiser or of a pair."""
    notes: tuple[str, ...]
    """What the study cannot show."""


def analyze_study(decisions: Iterable[Decision], limits: StudyLimits | None = None) -> StudyResult:
    """The result of a study in which every appraiser judged every part equally often.

    Raises:
        ConfigProblem: decisions are missing or twice there, or a part has two references.
    """
    limits = limits or StudyLimits()
    parts, names, accepted, good = _arrange(list(decisions))
    right = accepted == good[None, :, None]
    results = tuple(_judge_appraiser(name, each, good, limits) for name, each in zip(names, accepted, strict=True))
    pairs = tuple(
        _judge_pair(names[first], names[second], accepted[first], accepted[second], limits)
        for first, second in combinations(range(len(names)), 2)
    )
    everything = np.moveaxis(accepted, 0, 1).reshape(len(parts), -1)
    judgements = [each.judgement for each in results] + [each.judgement for each in pairs]
    return StudyResult(
        parts=len(parts),
        good=int(good.sum()),
        bad=int((~good).sum()),
        trials=accepted.shape[2],
        appraisers=results,
        pairs=pairs,
        between=fleiss_kappa(_count_categories(everything)) if everything.shape[1] > 1 else None,
        reproducibility=_share_of_parts((everything == everything[:, :1]).all(axis=1)),
        effectiveness=_share_of_parts(right.all(axis=(0, 2)), limits.effectiveness),
        miss=_rate(everything[~good], limits.miss),
        false_alarm=_rate(~everything[good], limits.false_alarm),
        limits=limits,
        judgement=worst_judgement(judgements),
        notes=tuple(_list_notes(len(parts), good, accepted.shape[2], limits)),
    )


def _judge_appraiser(name: str, accepted: NDArray[Any], good: NDArray[Any], limits: StudyLimits) -> AppraiserResult:
    """`accepted`: parts x trials."""
    truth = np.repeat(good[:, None], accepted.shape[1], axis=1)
    reference = cohen_kappa(_count_pairs(accepted, truth))
    effectiveness = _share_of_parts((accepted == truth).all(axis=1), limits.effectiveness)
    miss, false_alarm = _rate(accepted[~good], limits.miss), _rate(~accepted[good], limits.false_alarm)
    agreement = judge_kappa(reference.value, limits)
    return AppraiserResult(
        appraiser=name,
        repeatability=_share_of_parts((accepted == accepted[:, :1]).all(axis=1)),
        effectiveness=effectiveness,
        miss=miss,
        false_alarm=false_alarm,
        within=fleiss_kappa(_count_categories(accepted)) if accepted.shape[1] > 1 else None,
        reference=reference,
        reference_judgement=agreement,
        judgement=worst_judgement([effectiveness.judgement, miss.judgement, false_alarm.judgement, agreement]),
    )


def _judge_pair(
    first: str, second: str, accepted: NDArray[Any], other: NDArray[Any], limits: StudyLimits
) -> PairResult:
    kappa = cohen_kappa(_count_pairs(accepted, other))
    return PairResult(first, second, kappa, judge_kappa(kappa.value, limits))


def _arrange(decisions: Sequence[Decision]) -> tuple[list[str], list[str], NDArray[np.bool_], NDArray[np.bool_]]:
    """Parts, appraisers, accepted (appraisers x parts x trials) and the references of the parts."""
    if not decisions:
        raise ConfigProblem("the study holds no decision", hint="docs/line-statistics.md shows an example")
    parts, names = (list(dict.fromkeys(getattr(each, key) for each in decisions)) for key in ("part", "appraiser"))
    references = {each.part: each.reference for each in decisions}
    trials: dict[tuple[str, str], dict[str, bool]] = {}
    for each in decisions:
        if references[each.part] != each.reference:
            raise ConfigProblem(f"part {each.part}: two references", hint="a part is good or bad, in every line")
        mine = trials.setdefault((each.appraiser, each.part), {})
        if each.trial in mine:
            where = f"part {each.part}, appraiser {each.appraiser}, trial {each.trial}"
            raise ConfigProblem(f"{where}: decided twice", hint="number the trials")
        mine[each.trial] = each.accepted
    usual = Counter(len(each) for each in trials.values()).most_common(1)[0][0]
    for name in names:
        for part in parts:
            if (count := len(trials.get((name, part), {}))) != usual:
                text = f"appraiser {name} judged part {part} {count} times, most parts {usual} times"
                raise ConfigProblem(text, hint="every appraiser must judge every part equally often")
    accepted = np.array([[list(trials[name, part].values()) for part in parts] for name in names], bool)
    return parts, names, accepted, np.array([references[part] for part in parts], bool)


def _count_pairs(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.int64]:
    """Parts x 2 x 2: pairs of decisions of the same trial, of arrays parts x trials."""
    cells = first.astype(int) * 2 + second.astype(int)
    return np.stack([(cells == cell).sum(axis=1) for cell in range(4)], axis=1).reshape(-1, 2, 2)


def _count_categories(accepted: NDArray[Any]) -> NDArray[np.int64]:
    """Parts x 2: decisions that reject, and that accept."""
    return np.stack([(~accepted).sum(axis=1), accepted.sum(axis=1)], axis=1)


def _share_of_parts(fulfilled: NDArray[Any], limits: tuple[float, float] | None = None) -> Share:
    hits, count = int(fulfilled.sum()), len(fulfilled)
    share = hits / count
    judgement = None if limits is None else judge_share(share, limits)
    return Share(hits, count, share, exact_interval(hits, count), judgement)


def _rate(wrong: NDArray[Any], limits: tuple[float, float]) -> Share:
    """Share of wrong decisions; `wrong`: parts x decisions."""
    hits, count = int(wrong.sum()), wrong.size
    if not count:
        return Share(0, 0, None, None)
    interval = grouped_interval(wrong.sum(axis=1), np.full(len(wrong), wrong.shape[1]))
    return Share(hits, count, hits / count, interval, judge_share(hits / count, limits))


def _list_notes(parts: int, good: NDArray[Any], trials: int, limits: StudyLimits) -> Iterable[str]:
    bad = int((~good).sum())
    if parts < 50:
        yield f"{parts} parts: AIAG's manual takes 50; intervals of kappa are too narrow with so few"
    if trials == 1:
        yield "one trial: repeatability cannot be judged"
    for kind, count, limit in (("bad", bad, limits.miss[0]), ("good", int(good.sum()), limits.false_alarm[0])):
        what = "miss" if kind == "bad" else "false alarm"
        if not count:
            yield f"no {kind} part: the {what} rate cannot be judged"
        elif (bound := exact_interval(0, count)) and bound[1] > limit:
            yield f"{count} {kind} parts: even without any {what} its rate may be {bound[1]:.1%}, above {limit:.0%}"
