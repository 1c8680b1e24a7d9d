"""Results of an evaluation: the figures of the float model and of both int8 files on the test images.

Every task has a record of its own figures, a `TaskMetrics`. `Results` joins it with what is measured alike for all
tasks: time, size, and the difference between the two back ends. `to_manifest` gives the keys of `measured` in the
manifest, which are also those of `report.json` and of `vedette build --json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from scipy import stats

from vedette.runtime.evaluation.interleaved_timing import Timing

from .built_models import FLOAT, INT8_ONNX, INT8_TFLITE
from .file_parity import FileParity

METRIC_TITLES = {"auroc": "AUROC", "map50": "mAP50"}


class Measurement(msgspec.Struct, frozen=True):
    """A measured value."""

    value: float | None
    """None: the test images do not show it, for example without labels."""
    interval: tuple[float, float] | None = None
    """95 % interval of the value."""
    unit: str = ""
    source: str = ""
    """How the value was obtained."""


class CountOfTotal(msgspec.Struct, frozen=True):
    """`count` events in `total` trials."""

    count: int
    total: int

    @property
    def rate(self) -> float | None:
        """The share of the trials; None without trials."""
        return self.count / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The exact 95 % interval of the rate (Clopper and Pearson, 1934); None without trials."""
        if not self.total:
            return None
        found = stats.binomtest(self.count, self.total).proportion_ci(0.95, "exact")
        return float(found.low), float(found.high)


class ComparedDesign(msgspec.Struct, frozen=True, kw_only=True):
    """Another design of the search, built whole and measured on the same test images as the chosen one."""

    parameters: dict[str, Any]
    """Parameters of the design, by manifest key."""
    cost: float
    """Cost of one image with its int8 model."""
    fp32: Measurement
    """The metric of its float model."""
    int8: Measurement
    """The metric of its int8 ONNX model."""
    difference: Measurement
    """The metric of the chosen int8 ONNX model minus that of this one, with the interval of the difference."""

    def to_manifest(self, metric: str) -> dict[str, Any]:
        return {
            **self.parameters,
            "effort": self.cost,
            **per_model(metric, {FLOAT: self.fp32, INT8_ONNX: self.int8}),
            f"{metric}_difference": self.difference.value,
            f"{metric}_difference_interval": self.difference.interval,
        }


class DesignChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The design that a search chose, and the trials that it was chosen from."""

    parameters: dict[str, Any]
    """Parameters of the design, by manifest key."""
    speedup: Measurement
    """Cost of the uncompressed float model divided by the cost of the design."""
    trials: Sequence[msgspec.Struct]
    finalists: Sequence[msgspec.Struct] | None = None
    """None: the task builds no finalists."""
    compared: Mapping[str, ComparedDesign] = {}
    """Designs that the search is held against, by manifest key."""

    def to_manifest(self, metric: str) -> dict[str, Any]:
        fields = self.parameters | {
            "speedup": self.speedup.value,
            "speedup_by": self.speedup.source,
            "trials": msgspec.to_builtins(self.trials),
        }
        if self.finalists is not None:
            fields |= {"finals": msgspec.to_builtins(self.finalists)}
        return fields | {key: design.to_manifest(metric) for key, design in self.compared.items()}


class TaskMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures that every task has; by model means by `FLOAT`, `INT8_ONNX` and `INT8_TFLITE`."""

    metric: str
    """Manifest key of the metric that compares the models: `auroc`, `accuracy`, `map50` or `cosine`."""
    by_model: dict[str, Measurement]
    """That metric of each model."""
    images: dict[str, int]
    """Number of images by purpose."""
    machine: str
    """CPU of the machine that measured."""
    input_size: int | None = None
    """Width of the input in pixels; None: the design states it."""
    counts_clips: bool = False
    """The figures count video clips, not images."""
    threshold: msgspec.Struct | None = None
    false_alarms: CountOfTotal | None = None
    """Good test images at or above the threshold."""
    errors: CountOfTotal | None = None
    """Wrong answers among the answered test images."""
    design: DesignChoice | None = None

    @property
    def title(self) -> str:
        """The metric, for display."""
        return METRIC_TITLES.get(self.metric, self.metric)

    def to_manifest(self) -> dict[str, Any]:
        """The figures by their key in `measured`."""
        fields: dict[str, Any] = per_model(self.metric, self.by_model)
        if self.threshold is not None:
            fields["threshold"] = msgspec.to_builtins(self.threshold)
        fields |= {"images": self.images, "machine": self.machine}
        if self.input_size is not None:
            fields["input"] = self.input_size
        if self.counts_clips:
            fields["judged"] = "clips"
        return fields if self.design is None else fields | self.design.to_manifest(self.metric)


def per_model(key: str, measurements: Mapping[str, Measurement]) -> dict[str, Any]:
    """`KEY_MODEL` and `KEY_interval_MODEL` for each model; the interval only where there is one."""
    fields: dict[str, Any] = {}
    for model, measurement in measurements.items():
        fields[f"{key}_{model}"] = measurement.value
        if measurement.interval is not None:
            fields[f"{key}_interval_{model}"] = measurement.interval
    return fields


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured of the three models on the build machine."""

    metrics: TaskMetrics
    timings: dict[str, Timing]
    """Milliseconds of one frame by model, preprocessing included."""
    sizes: dict[str, int]
    """Bytes of each model file."""
    parity: FileParity
    """How far the two int8 files are apart."""

    @property
    def float_metric(self) -> float | None:
        """The metric of the float model; None: the test images do not show it."""
        return self.metrics.by_model[FLOAT].value

    @property
    def reference_metric(self) -> float | None:
        """The metric of the best float model: that of the chosen design, or of one that it is held against."""
        design = self.metrics.design
        others = () if design is None else design.compared.values()
        values = (self.float_metric, *(other.fp32.value for other in others))
        return max((value for value in values if value is not None), default=None)

    @property
    def int8_metric(self) -> float | None:
        """The metric of the worse int8 model; None: the test images do not show it."""
        values = [self.metrics.by_model[model].value for model in (INT8_ONNX, INT8_TFLITE)]
        return min((value for value in values if value is not None), default=None)

    def to_manifest(self) -> dict[str, Any]:
        """The results by their key in `measured`."""
        return {
            **self.metrics.to_manifest(),
            **{f"ms_{model}": timing.median for model, timing in self.timings.items()},
            **{f"p95_ms_{model}": timing.p95 for model, timing in self.timings.items()},
            **{f"bytes_{model}": size for model, size in self.sizes.items()},
            "parity_max_steps": self.parity.max_steps,
        }
