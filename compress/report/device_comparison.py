"""The bundles of one run for several devices, side by side: a page, and the same as JSON.

All models are measured on the same test images. The same model files have the same figures, and differ only in what
they cost on a device. A cost that nobody knows is not guessed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import ONNX, Manifest

from ..cost import cost_limits
from ..cost.device_costs import DeviceCosts
from ..evaluation.anomaly_scoring import AnomalyMetrics
from ..evaluation.built_models import INT8_ONNX, INT8_TFLITE
from ..evaluation.results import CountOfTotal, Measurement, Results
from ..models.design import Design
from . import html_report
from .verdict import Verdict


class DeviceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The bundle of one device."""

    profile: DeviceProfile
    folder: str
    """Folder of the bundle, below that of the page."""
    manifest: Manifest
    verdict: Verdict
    results: Results
    costs: DeviceCosts
    taken_over: dict[str, str]
    """Steps that were made for a device before, each with that device."""
    cpu_seconds: float
    """Processor time of this device's part of the run."""

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def bundle(self) -> str:
        """Path of the bundle, relative to the page."""
        return f"{self.folder}/{self.manifest.name}.vedette"

    @property
    def report(self) -> str:
        """Path of the device's own report, relative to the page."""
        return f"{self.folder}/{self.manifest.name}.html"

    @property
    def model_digest(self) -> str:
        """SHA-256 of the int8 ONNX file, by which equal models are known."""
        return self.manifest.files[self.manifest.models[ONNX]].sha256

    @property
    def design(self) -> str:
        """The design in words; of a task without designs, the size of the input."""
        choice = self.results.metrics.design
        if choice is not None and "detector" in choice.parameters:
            return str(msgspec.convert(choice.parameters, Design))
        return f"{self.manifest.input.width} × {self.manifest.input.height} pixels"

    @property
    def metric(self) -> Measurement:
        """The metric of the worse int8 file."""
        by_model = self.results.metrics.by_model
        return min(
            (by_model[model] for model in (INT8_ONNX, INT8_TFLITE)),
            key=lambda each: -1.0 if each.value is None else each.value,
        )

    @property
    def detections(self) -> CountOfTotal | None:
        """Defective test images at or above the threshold; None: the task has none."""
        metrics = self.results.metrics
        return metrics.detections if isinstance(metrics, AnomalyMetrics) else None

    @property
    def bytes(self) -> int:
        """Size of the larger int8 file."""
        return max(self.results.sizes[model] for model in (INT8_ONNX, INT8_TFLITE))

    @property
    def compiled(self) -> dict[str, Any]:
        """Models for accelerators, by back end: target, compiler and bytes."""
        files = self.manifest.files
        return {
            name: {"target": each.target, "tool": each.tool, "bytes": files[each.file].bytes}
            for name, each in self.manifest.compiled.items()
        }

    @property
    def backend(self) -> str | None:
        """The back end that should be faster on the device; None: nothing is known of one there."""
        known = self.costs.on_device
        timed = {name: each.ms for name, each in known.items() if each.ms is not None}
        counted = {name: each.instructions for name, each in known.items() if each.instructions is not None}
        quantities = timed or counted
        return min(quantities, key=quantities.__getitem__) if quantities else None

    @property
    def is_counted(self) -> bool:
        """Whether instructions are predicted for the device."""
        return cost_limits.cost_unit(self.costs.device) != cost_limits.MULTIPLICATIONS

    def to_json(self) -> dict[str, Any]:
        metrics = self.results.metrics
        return {
            "title": self.profile.title,
            "verdict": self.verdict.outcome,
            "goal_met": self.verdict.met,
            "missed": self.verdict.missed,
            "unproven": self.verdict.unproven,
            "bundle": self.bundle,
            "report": self.report,
            "design": self.design,
            "model_sha256": self.model_digest,
            "metric": metrics.metric,
            "value": self.metric.value,
            "interval": self.metric.interval,
            "false_alarms": _describe_count(metrics.false_alarms),
            "detections": _describe_count(self.detections),
            "errors": _describe_count(metrics.errors),
            "bytes": self.bytes,
            "macs": self.costs.macs,
            "on_device": self.costs.on_device,
            "backend": self.backend,
            "compiled": self.compiled,
            "taken_over": self.taken_over,
            "cpu_seconds": self.cpu_seconds,
        }


class DeviceComparison(msgspec.Struct, frozen=True):
    """The devices of a run, at least one."""

    devices: tuple[DeviceFigures, ...]
    missing: tuple[str, ...] = ()
    """Devices that the run has not built yet."""

    def same_model_as(self, figures: DeviceFigures) -> str | None:
        """The first device with the same model files; None: this is the first."""
        first = next(each for each in self.devices if each.model_digest == figures.model_digest)
        return None if first.name == figures.name else first.name


def render_html(comparison: DeviceComparison) -> bytes:
    """The page, self-contained."""
    first = comparison.devices[0]
    models = {each.model_digest for each in comparison.devices}
    return html_report.render_page(
        "devices.html",
        comparison=comparison,
        devices=comparison.devices,
        manifest=first.manifest,
        metrics=first.results.metrics,
        model_count=len(models),
    )


def render_json(comparison: DeviceComparison) -> bytes:
    """The content of the page for programs."""
    manifest = comparison.devices[0].manifest
    content = {
        "name": manifest.name,
        "release": manifest.release,
        "goal": manifest.goal,
        "devices": {
            each.name: each.to_json() | {"same_model_as": comparison.same_model_as(each)} for each in comparison.devices
        },
        "missing": comparison.missing,
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _describe_count(counted: CountOfTotal | None) -> dict[str, Any] | None:
    if counted is None:
        return None
    return {"count": counted.count, "of": counted.total, "rate": counted.rate, "interval": counted.interval}
