"""`vedette doctor` takes a frame from a camera, through the daemon's own source and capture process.

While the camera's daemon runs, that daemon is asked instead: most local cameras serve one program at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ..camera import sources
from ..camera.view_guard import LOST_FAULT, MOVED_FAULT
from ..config.configuration import Config
from ..errors import Problem
from ..redaction import redact
from .doctor_check import Check
from .status import StatusReport, request_status

_FIRST_FRAME_SECONDS = 10.0
_TROUBLE_SECONDS = 2.0
"""Once the reason is known, a camera gets a second try, not more."""
_VIEW_REMEDY = "turn the camera back; or see docs/privacy.md, If the camera was moved"


def check_camera(settings: Config, on_frame: Callable[[Any], None] | None = None) -> Check:
    """Whether the camera gives frames.

    Args:
        settings: configuration of the camera
        on_frame: called with the frame, H x W x 3, uint8, blue-green-red; None: a running daemon's word suffices
    """
    if on_frame is None and (report := ask_daemon(settings)) is not None:
        return report
    start, shown = time.monotonic(), redact(settings.source)
    stop = threading.Event()
    alarm = threading.Timer(_FIRST_FRAME_SECONDS, stop.set)
    alarm.start()
    try:
        source = sources.load_source(sources.SourceAddress.from_config(settings))
        frame = None
        for frame in source.frames(stop):
            if frame is not None or (_find_trouble(source) and time.monotonic() - start > _TROUBLE_SECONDS):
                break
    except Problem as problem:
        return Check(settings.camera, False, redact(problem.message), redact(problem.hint))
    finally:
        alarm.cancel()
    if frame is None:
        reason = _find_trouble(source)
        text = f"{shown}: no frame in {time.monotonic() - start:.0f} s{reason and f', {reason}'}"
        return Check(settings.camera, False, text, "check the camera and its source")
    height, width = frame.pixels.shape[:2]
    if on_frame is not None:
        on_frame(frame.pixels)
    taken = time.monotonic() - start
    return Check(settings.camera, True, f"{shown} gives {width} x {height}, first frame after {taken:.2f} s")


def _find_trouble(source: sources.FrameSource) -> str:
    return source.frame_counts.trouble if source.frame_counts else ""


def ask_daemon(settings: Config) -> Check | None:
    """What the camera's running daemon says; None: none runs, or it watches a recording, or had no frame yet."""
    report = _request(settings)
    if report is None or report.pictures is None or report.frames_per_second is None:
        return None
    if report.pictures.trouble:
        return Check(settings.camera, False, f"the daemon has no frames: {report.pictures.trouble}", "check the camera")
    text = f"the daemon gets {report.frames_per_second:.1f} frames a second from it"
    for fault in (LOST_FAULT, MOVED_FAULT):
        if fault in report.faults:
            return Check(settings.camera, False if fault == LOST_FAULT else None, f"{text}; {fault}", _VIEW_REMEDY)
    return Check(settings.camera, True, text)


def _request(settings: Config) -> StatusReport | None:
    try:
        return request_status(settings.state_folder)
    except OSError:  # no such folder, or this user may not ask
        return None
