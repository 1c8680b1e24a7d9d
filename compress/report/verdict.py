"""The verdict: each wish of the goal file compared with the results and the costs.

A wish is met, missed or not proven. Not proven means that the images, or what is known of the device, do not allow to
say either; sample_proof.py says how many images would.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from vedette.devices import CostPrediction

from ..cost.device_costs import DeviceCosts
from ..evaluation.anomaly_scoring import AnomalyMetrics
from ..evaluation.built_models import INT8_ONNX, INT8_TFLITE
from ..evaluation.fidelity import FidelityMetrics
from ..evaluation.file_parity import MAX_STEPS, FileParity
from ..evaluation.results import Results, TaskMetrics
from ..goal.goal_tables import Goal
from ..review.finding import Review
from . import sample_proof
from .judgement import Judgement
from .rate_judgement import judge_detections, judge_rate
from .review_judgement import judge_review

Outcome = Literal["met", "not proven", "missed", "no goal"]


class Verdict(msgspec.Struct, frozen=True):
    """Whether the goal is met."""

    judgements: tuple[Judgement, ...]

    @property
    def outcome(self) -> Outcome:
        """The worst judgement of all: `met` only if each wish is."""
        if not self.judgements:
            return "no goal"
        return "missed" if self.missed else "not proven" if self.unproven else "met"

    @property
    def met(self) -> bool:
        """Whether no wish is missed; `outcome` also tells what is proven."""
        return not self.missed

    @property
    def missed(self) -> tuple[str, ...]:
        """One sentence for each missed wish: which, and by how much."""
        return tuple(str(each) for each in self.judgements if each.met is False)

    @property
    def unproven(self) -> tuple[str, ...]:
        """One sentence for each wish that could not be judged, and why."""
        return tuple(str(each) for each in self.judgements if each.met is None)


def judge(goal: Goal, results: Results, costs: DeviceCosts, review: Review | None = None) -> Verdict:
    """Compare the int8 models with the goal; of the two files the worse one counts.

    Milliseconds are those of the faster file, because the device chooses it; the judgement states where they come from.
    A rate of false alarms or errors is counted on few images and so is uncertain: it misses the goal only if the count
    would be improbable (below 5 %) at the wished rate, and it is not proven if not even zero events would prove it.

    If the two files differ by more than MAX_STEPS integer steps on a test image, the goal is missed and nothing else is
    judged.
    """
    wish, metrics = goal.goal, results.metrics
    found, reference = results.int8_metric, results.reference_metric
    drop = None if found is None or reference is None else reference - found
    no_labels = _why_no_metric(goal, metrics)

    judgements = []
    for name, least in (
        ("min_auroc", wish.min_auroc),
        ("min_accuracy", wish.min_accuracy),
        ("min_map50", wish.min_map50),
    ):
        if least is not None:
            judgements.append(_judge_metric(name, least, found, no_labels, metrics))
    if wish.max_drop is not None:
        met = None if drop is None else drop <= wish.max_drop
        of_search = "" if reference == results.float_metric else "against the best float model of the search"
        judgements.append(Judgement("max_drop", wish.max_drop, drop, met, no_labels if drop is None else of_search))
    if wish.min_cosine is not None and isinstance(metrics, FidelityMetrics):
        cosine = min(each.mean for each in metrics.cosine.values())
        judgements.append(Judgement("min_cosine", wish.min_cosine, cosine, cosine >= wish.min_cosine))
    if wish.max_ms is not None:
        p95_here = min(results.timings[INT8_ONNX].p95, results.timings[INT8_TFLITE].p95)
        judgements.append(_judge_speed(wish.max_ms, goal.device.profile, p95_here, costs.on_device))
    if wish.min_speedup is not None and metrics.design is not None:
        speedup = metrics.design.speedup
        met = None if speedup.value is None else speedup.value >= wish.min_speedup
        judgements.append(Judgement("min_speedup", wish.min_speedup, speedup.value, met, speedup.source))
    if wish.max_bytes is not None:
        largest = max(results.sizes[INT8_ONNX], results.sizes[INT8_TFLITE])
        judgements.append(Judgement("max_bytes", wish.max_bytes, largest, largest <= wish.max_bytes))
    if wish.false_alarm_rate is not None and metrics.false_alarms is not None:
        counted = "normal test clips" if metrics.counts_clips else "good test images"
        judgements.append(
            judge_rate("false_alarm_rate", wish.false_alarm_rate, metrics.false_alarms, counted, metrics.threshold)
        )
    if wish.min_detection_rate is not None and isinstance(metrics, AnomalyMetrics):
        counted = "abnormal test clips" if metrics.counts_clips else "defective test images"
        judgements.append(judge_detections(wish.min_detection_rate, metrics.detections, counted))
    if wish.error_rate is not None:
        judgements.append(
            Judgement("error_rate", wish.error_rate, None, None, no_labels)
            if metrics.errors is None
            else judge_rate("error_rate", wish.error_rate, metrics.errors, "answers on test images")
        )
    if review is not None:
        judgements += judge_review(wish, review)
    return Verdict(tuple(_judge_parity(results.parity, judgements)))


def _judge_parity(parity: FileParity, others: list[Judgement]) -> list[Judgement]:
    """All judgements: of files that differ nothing is judged but the difference, and the goal is missed."""
    if parity.holds:
        return [*others, Judgement("parity", MAX_STEPS, None, None, parity.reason)] if parity.is_float else others
    missed = Judgement("parity", MAX_STEPS, parity.max_steps, False, parity.reason)
    why = "the two int8 files differ, and the wrong one cannot be judged"
    return [missed, *(msgspec.structs.replace(each, found=None, met=None, why=why) for each in others)]


def _why_no_metric(goal: Goal, metrics: TaskMetrics) -> str:
    """Why the metric has no value."""
    if goal.task == "anomaly" and not metrics.images.get("test_good", 1):
        return "there are no good test images to measure it with (data.test)"
    if goal.task == "behaviour":
        return "there are no abnormal clips to measure it with (data.abnormal)"
    if goal.model.is_imported:
        return "there are no labels to measure it with (data.classes)"
    return "there are no defective images to measure it with (data.defect)"


def _judge_speed(asked: float, device: str, p95_here: float, on_device: dict[str, CostPrediction]) -> Judgement:
    """Judge `max_ms` by the back end that is faster on the device.

    A prediction is a range: the wish is met if all of the range is fast enough, and missed if none of it is. Of a
    measurement the 95th percentile counts.

    Args:
        asked: milliseconds
        device: name of the device profile
        p95_here: milliseconds on the build machine
        on_device: predicted or measured cost on the device by back end
    """
    if not on_device and device == "host":
        return Judgement("max_ms", asked, p95_here, p95_here <= asked, "p95, measured here")
    timed = [each for each in on_device.values() if each.ms is not None]
    if not timed:
        why = f"it was measured on the machine that built the bundle, which is not a {device}"
        if on_device:
            least = min(on_device.values(), key=lambda each: each.instructions or 0.0)
            why = f"{least}; nothing is known of how fast a {device} finishes them"
        return Judgement("max_ms", asked, None, None, why)
    best = min(timed, key=lambda each: each.ms_high or 0.0)
    low, middle, high = best.ms_low or 0.0, best.ms or 0.0, best.ms_high or 0.0
    if best.origin in ("measured there", "measured here"):
        return Judgement("max_ms", asked, high, high <= asked, f"p95, {best.origin}")
    if low <= asked < high:
        return Judgement("max_ms", asked, middle, None, f"{best}, which allows either")
    return Judgement("max_ms", asked, middle, high <= asked, str(best))


def _judge_metric(name: str, least: float, found: float | None, no_labels: str, metrics: TaskMetrics) -> Judgement:
    """Judge a metric by its value on the test images, if they are enough to tell an AUROC from chance."""
    if found is None:
        return Judgement(name, least, None, None, no_labels)
    if found >= least and isinstance(metrics, AnomalyMetrics):
        good, defective = metrics.false_alarms.total, metrics.detections.total
        if not sample_proof.order_shows_difference(good, defective):
            why = f"{good} good and {defective} defective test images cannot tell it from chance"
            needed = f"{sample_proof.defective_to_show_difference(good)} defective ones beside {good} good ones"
            return Judgement(name, least, found, None, why, needed)
    return Judgement(name, least, found, found >= least)
