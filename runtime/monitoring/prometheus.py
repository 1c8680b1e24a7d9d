"""What the daemons tell of themselves, as Prometheus reads it.

Names are those that video recorders have (`process_fps`, `detector_inference_speed_seconds`, `service_uptime_seconds`),
in seconds, bytes and degrees Celsius. What a daemon does not know is left out: no number is better than a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .status import Report


class Metrics(Collector):
    """Asks the daemons whenever somebody reads.

    Args:
        ask: gives what each camera's daemon tells; None where it does not run
    """

    def __init__(self, ask: Callable[[], Mapping[str, Report | None]]) -> None:
        self.ask = ask

    def collect(self) -> Iterable[Metric]:
        reports = self.ask()
        up = GaugeMetricFamily("vedette_up", "Whether the camera's daemon answers", labels=["camera"])
        for camera, report in reports.items():
            up.add_metric([camera], report is not None)
        yield up
        yield from _families([report for report in reports.values() if report is not None])


def _families(reports: list[Report]) -> Iterator[Metric]:
    for name, what, of in _GAUGES:
        gauge = GaugeMetricFamily(f"vedette_{name}", what, labels=["camera"])
        for report in reports:
            if (value := of(report)) is not None:
                gauge.add_metric([report.camera], value)
        yield gauge
    speed = GaugeMetricFamily(
        "vedette_detector_inference_speed_seconds",
        "From a picture in memory to its events on the disk",
        labels=["camera", "quantile"],
    )
    fault = GaugeMetricFamily("vedette_fault", "What is wrong just now", labels=["camera", "fault"])
    throttled = GaugeMetricFamily("vedette_throttled", "What the firmware does just now", labels=["camera", "flag"])
    skipped = CounterMetricFamily("vedette_skipped_frames", "Pictures not looked at", labels=["camera", "reason"])
    counted = {name: CounterMetricFamily(f"vedette_{name}", what, labels=["camera"]) for name, what, _ in _COUNTERS}
    for report in reports:
        for share, milliseconds in report.latency_ms.items():
            speed.add_metric([report.camera, f"{int(share[1:]) / 100:g}"], milliseconds / 1e3)
        for each in report.faults:
            fault.add_metric([report.camera, each], 1)
        for flag in report.throttled or ():
            throttled.add_metric([report.camera, flag], 1)
        if report.pictures is not None:
            skipped.add_metric([report.camera, "dropped"], report.pictures.dropped)
            skipped.add_metric([report.camera, "late"], report.pictures.late)
        skipped.add_metric([report.camera, "still"], report.skipped)
        for name, _, of in _COUNTERS:
            if (value := of(report)) is not None:
                counted[name].add_metric([report.camera], value)
    yield from (speed, fault, throttled, skipped, *counted.values())


_Of = Callable[[Report], float | None]
_GAUGES: tuple[tuple[str, str, _Of], ...] = (
    ("service_uptime_seconds", "Since the daemon started", lambda report: report.uptime_seconds),
    ("process_fps", "Pictures looked at in a second", lambda report: report.frames_per_second),
    ("backlog_events", "Events that wait for the broker", lambda report: report.backlog),
    ("dead_events", "Events that the broker would not have", lambda report: report.dead),
    ("broker_connected", "Whether the broker is there", lambda report: float(report.connected)),
    ("memory_bytes", "Held by the process", lambda report: 1e6 * report.memory_mb),
    ("device_temperature", "Of the hottest zone, degrees Celsius", lambda report: report.temperature),
    ("inference_duty", "The share of the time that goes into inference", lambda report: report.duty),
    (
        "evidence_bytes",
        "Of the evidence that is kept",
        lambda report: report.evidence.bytes if report.evidence else None,
    ),
    (
        "evidence_waiting",
        "Files of it that are not uploaded yet",
        lambda report: report.evidence.waiting if report.evidence else None,
    ),
    ("slowness", "How many times as long as usual lies between two pictures", lambda report: report.slowness),
)
_COUNTERS: tuple[tuple[str, str, _Of], ...] = (
    ("frames", "Pictures looked at", lambda report: report.frames),
    ("inferences", "Frames that the model was asked about", lambda report: report.inferences),
    ("events", "Events recorded", lambda report: report.events),
    ("published_bytes", "Handed to the broker's connection", lambda report: report.published),
    (
        "evidence_lost",
        "Files of evidence that were not written, or deleted before they were uploaded",
        lambda report: report.evidence.lost if report.evidence else None,
    ),
    (
        "camera_restarts",
        "Attempts at the camera after the first",
        lambda report: report.pictures.restarts if report.pictures else None,
    ),
)
