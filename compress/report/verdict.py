"""Whether what was asked for has come of it: each wish of the goal file held against the figures."""

from __future__ import annotations

from math import comb
from typing import Any

import msgspec

from vedette.devices import Prediction

from ..cost import predicted_cost
from ..goal.goal_file import FIGURES, Goal


class Judgement(msgspec.Struct, frozen=True):
    """One wish held against what was found."""

    goal: str
    asked: float
    found: float | None
    met: bool | None
    """None: it could not be judged here."""
    why: str = ""
    """More than the numbers say, or why there is no judgement."""

    def __str__(self) -> str:
        if self.met is None or self.found is None:
            return f"{self.goal}: asked {_number(self.asked)}, not proven: {self.why}"
        text = f"{self.goal}: asked {_number(self.asked)}, found {_number(self.found)}"
        if not self.met:
            text += f", missed by {_number(abs(self.found - self.asked))}"
        return f"{text} ({self.why})" if self.why else text


class Verdict(msgspec.Struct, frozen=True):
    """Whether the goal is met."""

    judgements: tuple[Judgement, ...]

    @property
    def met(self) -> bool:
        return not self.missed

    @property
    def missed(self) -> tuple[str, ...]:
        """One sentence for each wish missed: which, and by how much."""
        return tuple(str(each) for each in self.judgements if each.met is False)

    @property
    def unproven(self) -> tuple[str, ...]:
        """One sentence for each wish that could not be judged, and why."""
        return tuple(str(each) for each in self.judgements if each.met is None)


def judge(goal: Goal, measured: dict[str, Any]) -> Verdict:
    """Holds the figures of the int8 models, the worse of the two files each time, against the goal.

    Milliseconds are those of the faster file, for that is the one that the device will choose, and say where they come
    from. A share of false alarms is counted on few images and so is uncertain: it is missed only where the count would
    be unlikely (under 5 %) if the true share were the wished one.
    """
    wish = goal.goal
    worst, drop = None, None
    figure = FIGURES[goal.task]
    if measured[f"{figure}_fp32"] is not None:
        worst = min(measured[f"{figure}_int8_onnx"], measured[f"{figure}_int8_tflite"])
        drop = measured[f"{figure}_fp32"] - worst
    fastest = min(measured["p95_ms_int8_onnx"], measured["p95_ms_int8_tflite"])
    largest = max(measured["bytes_int8_onnx"], measured["bytes_int8_tflite"])

    judgements = []
    no_defects = _absent(goal)
    for name, least in (
        ("min_auroc", wish.min_auroc),
        ("min_accuracy", wish.min_accuracy),
        ("min_map50", wish.min_map50),
    ):
        if least is not None:
            met = None if worst is None else worst >= least
            judgements.append(Judgement(name, least, worst, met, no_defects if worst is None else ""))
    if wish.max_drop is not None:
        met = None if drop is None else drop <= wish.max_drop
        judgements.append(Judgement("max_drop", wish.max_drop, drop, met, no_defects if drop is None else ""))
    if wish.min_cosine is not None:
        cosine = min(measured["cosine_int8_onnx"], measured["cosine_int8_tflite"])
        judgements.append(Judgement("min_cosine", wish.min_cosine, cosine, cosine >= wish.min_cosine))
    if wish.max_ms is not None:
        judgements.append(_speed(wish.max_ms, goal.device.profile, fastest, predicted_cost.read(measured)))
    if wish.min_speedup is not None:
        found = measured["speedup"]
        judgements.append(
            Judgement("min_speedup", wish.min_speedup, found, found >= wish.min_speedup, measured["speedup_by"])
        )
    if wish.max_bytes is not None:
        judgements.append(Judgement("max_bytes", wish.max_bytes, largest, largest <= wish.max_bytes))
    if wish.false_alarm_rate is not None:
        counts = measured["false_alarms"], measured["images"]["test_good"]
        judgements.append(_rate("false_alarm_rate", wish.false_alarm_rate, *counts, "good test images"))
    if wish.error_rate is not None and measured["accuracy_fp32"] is None:
        judgements.append(Judgement("error_rate", wish.error_rate, None, None, no_defects))
    elif wish.error_rate is not None:
        counts = measured["errors"], measured["answered"]
        judgements.append(_rate("error_rate", wish.error_rate, *counts, "answers on test images"))
    return Verdict(tuple(judgements))


def _absent(goal: Goal) -> str:
    """Why nothing can be compared."""
    if goal.task == "behaviour":
        return "there are no abnormal clips to measure it with (data.abnormal)"
    if goal.model.own:
        return "there are no labels to measure it with (data.classes)"
    return "there are no defective images to measure it with (data.defect)"


def _speed(asked: float, device: str, here: float, there: dict[str, Prediction]) -> Judgement:
    """Judged by the back end that is faster there.

    A prediction is a range: the wish is met where all of it is fast enough, and missed where none of it is. Of what was
    measured the 95th percentile counts.

    Args:
        asked: milliseconds
        device: name of the profile
        here: milliseconds on this machine
        there: by back end, what is known of the device
    """
    if not there and device == "host":
        return Judgement("max_ms", asked, here, here <= asked, "p95, measured here")
    timed = [each for each in there.values() if each.ms is not None]
    if not timed:
        why = f"it was measured on the machine that built the bundle, which is not a {device}"
        if there:
            least = min(there.values(), key=lambda each: each.instructions or 0.0)
            why = f"{least}; nothing is known of how fast a {device} finishes them"
        return Judgement("max_ms", asked, None, None, why)
    best = min(timed, key=lambda each: each.ms_high or 0.0)
    low, middle, high = best.ms_low or 0.0, best.ms or 0.0, best.ms_high or 0.0
    if best.origin in ("measured there", "measured here"):
        return Judgement("max_ms", asked, high, high <= asked, f"p95, {best.origin}")
    if low <= asked < high:
        return Judgement("max_ms", asked, middle, None, f"{best}, which allows either")
    return Judgement("max_ms", asked, middle, high <= asked, str(best))


def _rate(name: str, asked: float, count: int, trials: int, what: str) -> Judgement:
    found = count / trials if trials else 0.0
    met = _at_least(count, trials, asked) >= 0.05
    why = f"{count} of {trials} {what}"
    if met and found > asked:
        why += ", too few to tell this from what was asked"
    return Judgement(name, asked, found, met, why)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _at_least(count: int, trials: int, share: float) -> float:
    """The probability of `count` or more successes in `trials` of probability `share`."""
    return 1 - sum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(count))
