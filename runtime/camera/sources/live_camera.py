"""A camera that a capture process reads; the newest frame wins.

A frame that comes while the previous one is processed waits in its slot; a newer frame replaces it, and it is counted
as dropped. A frame that is more than a second old before it can be processed is late and is dropped, too. If no frame
comes, for whatever reason, the process is killed and started again, with a back-off that grows to ten seconds.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from ...backoff import backoff_seconds
from ...redaction import redact
from ..frame import Frame
from . import FrameCounts, SourceAddress
from .capture_process import CaptureProcess

log = logging.getLogger(__name__)

OPENING_SECONDS = 20.0  # for the first frame, with the time that a camera needs to start
MAX_BACKOFF_SECONDS = 10.0
STABLE_SECONDS = 30.0
LATE_SECONDS = 1.0
POLL_SECONDS = 1.0  # the caller gets None this often while no frame comes


class LiveCamera:
    """Base of all camera sources.

    Args:
        address: of the camera
        spec: for the capture process; see capture/__main__.py
        fps: most frames a second; 0: all
        python: the interpreter of the capture process, with its options
    """

    def __init__(
        self,
        address: SourceAddress,
        spec: dict[str, Any],
        fps: float,
        python: tuple[str, ...] = (sys.executable, "-P"),
    ) -> None:
        self.camera, self.max_silence, self.python = address.camera, address.max_silence, python
        self.spec = spec | {"zones": address.zones, "max_pixels": address.max_pixels}
        self.interval = 1 / fps if fps else 0.0
        self.slow_down_factor = 1.0
        """Factor on the usual interval between frames."""
        self.usual_interval = self.interval
        """Measured interval between frames, in seconds, while the camera is not slowed down."""
        self.frame_counts = FrameCounts()
        self.waits = False
        """No frame comes because the camera waits for its trigger; it answers."""

    def slow_down(self, factor: float) -> None:
        self.slow_down_factor = factor

    def frames(self, stop: threading.Event) -> Iterator[Frame | None]:
        failures, number = 0, 0
        while not stop.is_set():
            started = time.monotonic()
            for pixels, at in self._run_capture(stop):
                if pixels is None:
                    yield None
                    continue
                if self.frame_counts.trouble or number == 0:
                    log.info("frames arrive, %d x %d", pixels.shape[1], pixels.shape[0])
                    self.frame_counts.trouble = ""
                yield Frame(self.camera, number, time.time() - (time.monotonic() - at), pixels, at)
                number += 1
            failures = 0 if time.monotonic() - started > STABLE_SECONDS else failures + 1
            retry_at = time.monotonic() + backoff_seconds(failures, MAX_BACKOFF_SECONDS)
            while not stop.is_set() and (left := retry_at - time.monotonic()) > 0:
                stop.wait(min(left, POLL_SECONDS))
                yield None
            self.frame_counts.restarts += not stop.is_set()

    def _run_capture(self, stop: threading.Event) -> Iterator[tuple[Any, float]]:
        """The frames of one capture process, each with its time by time.monotonic(); None if none came."""
        try:
            process = CaptureProcess(self.python, self.spec)
        except OSError as error:
            self._set_trouble(f"{self.python[0]}: {error.strerror}")
            return
        try:
            last, expected, limit = time.monotonic(), 0, max(OPENING_SECONDS, self.max_silence)
            previous = None
            while not stop.is_set() and not process.exit_reason:
                process.buffer.set_interval(
                    self.usual_interval * self.slow_down_factor if self.slow_down_factor > 1 else self.interval
                )
                left = max(last, process.waited) + limit - time.monotonic()
                received = process.read_newest(min(POLL_SECONDS, max(0.0, left)))
                self.waits = process.waited > last
                if received is None:
                    if left <= 0:
                        process.exit_reason = (
                            f"no picture in {limit:g} s"  # part of the payload of `vedette.camera.stalled`
                        )
                    if self.waits:
                        self.frame_counts.trouble, limit = "", self.max_silence
                    yield None, 0.0
                    continue
                image, pixels = received
                if previous is not None:
                    self._update_interval((image.at - previous.at) / (image.number - previous.number))
                self.frame_counts.dropped += image.number - expected
                self._count_unstamped(image.unstamped)
                previous, expected, limit = image, image.number + 1, self.max_silence
                last = time.monotonic()
                if last - image.at > LATE_SECONDS:
                    self.frame_counts.late += 1
                    continue
                pixels.flags.writeable = False
                yield pixels, image.at
            self.waits = False
            if process.exit_reason:
                self._set_trouble(process.exit_reason)
        finally:
            process.close()

    def _update_interval(self, seconds: float) -> None:
        if self.slow_down_factor == 1:
            self.usual_interval = seconds if self.usual_interval == 0 else 0.95 * self.usual_interval + 0.05 * seconds

    def _count_unstamped(self, reason: str) -> None:
        self.frame_counts.unstamped += bool(reason)
        if reason and self.frame_counts.unstamped.bit_count() == 1:  # the first, second, fourth, eighth …
            log.warning("frames without a time of exposure: %d; %s", self.frame_counts.unstamped, redact(reason))

    def _set_trouble(self, reason: str) -> None:
        reason = redact(reason)
        if reason != self.frame_counts.trouble:
            log.warning("no frames: %s; trying again", reason)
        self.frame_counts.trouble = reason
