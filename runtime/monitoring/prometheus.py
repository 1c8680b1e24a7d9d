"""Prometheus metrics of the daemons on this device.

Metric names follow those of network video recorders (`process_fps`, `detector_inference_speed_seconds`,
`service_uptime_seconds`). Units are seconds, bytes and degrees Celsius. A value that a daemon does not know is left
out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..events.receiver_forwarder import SinkFigures
from .status import StatusReport


class PrometheusCollector(Collector):
    """Requests a report from every daemon at each scrape.

    Args:
        request_reports: returns the report of each camera's daemon; None if it does not run
    """

    def __init__(self, request_reports: Callable[[], Mapping[str, StatusReport | None]]) -> None:
        self.request_reports = request_reports

    def collect(self) -> Iterable[Metric]:
        reports = self.request_reports()
        up = GaugeMetricFamily("vedette_up", "Whether the camera's daemon answers", labels=["camera"])
        for camera, report in reports.items():
            up.add_metric([camera], report is not None)
        yield up
        yield from _metric_families([report for report in reports.values() if report is not None])


def _metric_families(reports: list[StatusReport]) -> Iterator[Metric]:
    for name, description, read_value in _GAUGES:
        gauge = GaugeMetricFamily(f"vedette_{name}", description, labels=["camera"])
        for report in reports:
            if (value := read_value(report)) is not None:
                gauge.add_metric([report.camera], value)
        yield gauge
    speed = GaugeMetricFamily(
        "vedette_detector_inference_speed_seconds",
        "Time from a frame in memory to its events on disk",
        labels=["camera", "quantile"],
    )
    fault = GaugeMetricFamily("vedette_fault", "Current faults", labels=["camera", "fault"])
    throttled = GaugeMetricFamily("vedette_throttled", "Current flags of the firmware", labels=["camera", "flag"])
    sinks = [GaugeMetricFamily(f"vedette_{name}", text, labels=["camera", "sink"]) for name, text, _ in _SINK_GAUGES]
    taken = CounterMetricFamily("vedette_sink_events", "Events that a sink has accepted", labels=["camera", "sink"])
    skipped = CounterMetricFamily("vedette_skipped_frames", "Frames without inference", labels=["camera", "reason"])
    counters = {
        name: CounterMetricFamily(f"vedette_{name}", description, labels=["camera"])
        for name, description, _ in _COUNTERS
    }
    for report in reports:
        for share, milliseconds in report.latency_ms.items():
            speed.add_metric([report.camera, f"{int(share[1:]) / 100:g}"], milliseconds / 1e3)
        for name in report.faults:
            fault.add_metric([report.camera, name], 1)
        for flag in report.throttled or ():
            throttled.add_metric([report.camera, flag], 1)
        for each in report.sinks:
            for gauge, (_, _, read) in zip(sinks, _SINK_GAUGES, strict=True):
                gauge.add_metric([report.camera, each.name], read(each))
            taken.add_metric([report.camera, each.name], each.delivered)
        if report.pictures is not None:
            skipped.add_metric([report.camera, "dropped"], report.pictures.dropped)
            skipped.add_metric([report.camera, "late"], report.pictures.late)
        skipped.add_metric([report.camera, "still"], report.skipped)
        for name, _, read_value in _COUNTERS:
            if (value := read_value(report)) is not None:
                counters[name].add_metric([report.camera], value)
    yield from (speed, fault, throttled, skipped, *sinks, taken, *counters.values())


_SINK_GAUGES: tuple[tuple[str, str, Callable[[SinkFigures], float]], ...] = (
    ("sink_connected", "Whether a sink took its last delivery", lambda sink: float(sink.connected)),
    ("sink_backlog_events", "Events that wait for a sink", lambda sink: sink.backlog),
    ("sink_dead_events", "Events that a sink refuses", lambda sink: sink.dead),
)
_ReadValue = Callable[[StatusReport], float | None]
_GAUGES: tuple[tuple[str, str, _ReadValue], ...] = (
    ("service_uptime_seconds", "Time since the daemon started", lambda report: report.uptime_seconds),
    ("process_fps", "Frames processed per second", lambda report: report.frames_per_second),
    ("backlog_events", "Events that wait for the broker", lambda report: report.backlog),
    ("dead_events", "Events that the broker refuses", lambda report: report.dead),
    ("broker_connected", "Whether the broker is connected", lambda report: float(report.connected)),
    ("memory_bytes", "Resident memory of the process", lambda report: 1e6 * report.memory_mb),
    ("device_temperature", "Hottest thermal zone, degrees Celsius", lambda report: report.temperature),
    ("inference_duty", "Fraction of the time spent in inference", lambda report: report.duty),
    (
        "evidence_bytes",
        "Bytes of stored evidence",
        lambda report: report.evidence.bytes if report.evidence else None,
    ),
    (
        "evidence_waiting",
        "Evidence files that are not uploaded yet",
        lambda report: report.evidence.waiting if report.evidence else None,
    ),
    (
        "score_drift",
        "Evidence that good scores left the band of the build; from 1 on they did",
        lambda report: report.drift.evidence if report.drift else None,
    ),
    (
        "recalibrated",
        "Whether threshold and offset were set anew after the build",
        lambda report: float(report.recalibration is not None),
    ),
    ("slowness", "Interval between frames, as a multiple of the usual one", lambda report: report.slowness),
)
_COUNTERS: tuple[tuple[str, str, _ReadValue], ...] = (
    ("frames", "Frames processed", lambda report: report.frames),
    ("inferences", "Frames that the model was run on", lambda report: report.inferences),
    ("events", "Events recorded", lambda report: report.events),
    ("published_bytes", "Bytes sent to the broker", lambda report: report.published),
    (
        "evidence_lost",
        "Evidence files that were not written, or were deleted before their upload",
        lambda report: report.evidence.lost if report.evidence else None,
    ),
    (
        "camera_restarts",
        "Attempts to open the camera, after the first",
        lambda report: report.pictures.restarts if report.pictures else None,
    ),
)
