"""Waits for the first event of a camera's daemon, and says what is missing until then."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from vedette.runtime.bundle.release_memory import open_bundle_to_run
from vedette.runtime.config.configuration import Config
from vedette.runtime.errors import Problem
from vedette.runtime.monitoring.status import StatusReport, request_status

_POLL_SECONDS = 0.5


class FirstEvent(msgspec.Struct, frozen=True):
    """How far a camera came."""

    camera: str
    works: bool
    """The daemon runs, has frames, and the broker took what there was."""
    text: str
    runs: bool = True
    """The daemon runs."""


def wait_for_first_event(settings: Config, seconds: float, must_run: bool) -> FirstEvent:
    """Asks the daemon until an event of a rule is delivered, or the time is over.

    Args:
        settings: configuration of the camera
        seconds: how long to wait
        must_run: False: nobody started it, so if it does not run there is nothing to wait for
    """
    end = time.monotonic() + seconds
    while True:
        report = _request(settings.state_folder)
        if report is not None and report.last_event is not None and report.connected and report.backlog == 0:
            event = report.last_event
            which = "first event" if report.events == 1 else f"{report.events} events, the newest"
            text = f"{which}: {event.type}, number {event.sequence}, {event.time}; the broker has it"
            return FirstEvent(settings.camera, True, text + _list_faults(report))
        left = end - time.monotonic()
        if left <= 0 or (report is None and not must_run):
            return _describe(settings, report)
        time.sleep(min(_POLL_SECONDS, left))


def _describe(settings: Config, report: StatusReport | None) -> FirstEvent:
    """What is missing."""
    if report is None:
        return FirstEvent(settings.camera, False, "the daemon does not run", runs=False)
    if report.pictures is not None and report.pictures.trouble:
        return FirstEvent(settings.camera, False, f"running, but no frames come: {report.pictures.trouble}")
    if not report.frames:
        return FirstEvent(settings.camera, False, "running, but no frame came yet")
    if not report.connected:
        return FirstEvent(settings.camera, False, "running, but there is no connection to the broker")
    if report.last_event is not None:
        return FirstEvent(settings.camera, False, f"running; events that wait for the broker: {report.backlog}")
    rate = "-" if report.frames_per_second is None else f"{report.frames_per_second:.1f}"
    text = f"running, no event yet: the camera gives {rate} frames a second"
    if report.top_score is not None and (threshold := _threshold(settings)):
        text += f", highest score {report.top_score:.3g} of threshold {threshold:.3g}"
    return FirstEvent(settings.camera, True, text + _list_faults(report))


def _list_faults(report: StatusReport) -> str:
    return "".join(f"; {fault}" for fault in report.faults)


def _threshold(settings: Config) -> float | None:
    """The lowest threshold of a rule."""
    try:
        manifest = open_bundle_to_run(settings.bundle, settings.keys, settings.state_folder).manifest
    except Problem:
        return None
    own = [rule.get("threshold", rule.get("min_score")) for rule in settings.rules]
    return min(float(each) if isinstance(each, int | float) else manifest.decision_threshold for each in own)


def _request(folder: Path) -> StatusReport | None:
    try:
        return request_status(folder)
    except OSError:  # no state folder yet, or this user may not ask
        return None
