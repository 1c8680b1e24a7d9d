"""A camera, read in a process of its own; the newest picture wins.

A picture that was taken while the one before was looked at waits in its slot until a newer one takes its place: it is
dropped, and counted. One that is older than a second when it could be looked at is late, and is dropped too, for what
it shows is no longer so. Where no picture comes, for whatever reason, the process is killed and the next one started,
with a wait between attempts that grows to ten seconds.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from ...backoff import backoff
from ..frame import Frame
from . import Address, Tally
from .capture_process import Process

log = logging.getLogger(__name__)

OPENING_SECONDS = 20.0  # for the first picture, with what a camera needs to wake up
BACKOFF_MOST = 10.0
LASTING_SECONDS = 30.0
LATE_SECONDS = 1.0
TURN_SECONDS = 1.0  # so often the caller gets its turn where nothing comes


class Live:
    """What all cameras have in common.

    Args:
        address: of the camera
        spec: what its process is told; capture/__main__.py
        fps: pictures a second that are wanted, at most; 0: all
        python: the interpreter that reads it, with its options
    """

    def __init__(
        self,
        address: Address,
        spec: dict[str, Any],
        fps: float,
        python: tuple[str, ...] = (sys.executable, "-P"),
    ) -> None:
        self.camera, self.silence, self.python = address.camera, address.silence, python
        self.spec = spec | {"zones": address.zones}
        self.interval = 1 / fps if fps else 0.0
        self.slowness = 1.0
        """How many times as long as usual lies between two pictures."""
        self.usual = self.interval
        """Seconds between two pictures, as measured while it is not slowed down."""
        self.tally = Tally()

    def slow(self, times: float) -> None:
        self.slowness = times

    def frames(self, stop: threading.Event) -> Iterator[Frame | None]:
        failures, number = 0, 0
        while not stop.is_set():
            began = time.monotonic()
            for pixels, at in self._attempt(stop):
                if pixels is None:
                    yield None
                    continue
                if self.tally.trouble or number == 0:
                    log.info("pictures come, %d x %d", pixels.shape[1], pixels.shape[0])
                    self.tally.trouble = ""
                yield Frame(self.camera, number, time.time() - (time.monotonic() - at), pixels)
                number += 1
            failures = 0 if time.monotonic() - began > LASTING_SECONDS else failures + 1
            again = time.monotonic() + backoff(failures, BACKOFF_MOST)
            while not stop.is_set() and (left := again - time.monotonic()) > 0:
                stop.wait(min(left, TURN_SECONDS))
                yield None
            self.tally.restarts += not stop.is_set()

    def _attempt(self, stop: threading.Event) -> Iterator[tuple[Any, float]]:
        """The pictures of one process, each with when it was taken, by time.monotonic(); None where none came."""
        try:
            process = Process(self.python, self.spec)
        except OSError as error:
            self._failed(f"{self.python[0]}: {error.strerror}")
            return
        try:
            last, expected, limit = time.monotonic(), 0, max(OPENING_SECONDS, self.silence)
            before = None
            while not stop.is_set() and not process.why:
                process.slots.pace(self.usual * self.slowness if self.slowness > 1 else self.interval)
                left = last + limit - time.monotonic()
                found = process.newest(min(TURN_SECONDS, max(0.0, left)))
                if found is None:
                    if left <= 0:
                        process.why = f"no picture in {limit:g} s"
                    yield None, 0.0
                    continue
                shot, pixels = found
                if before is not None:
                    self._measure((shot.at - before.at) / (shot.number - before.number))
                self.tally.dropped += shot.number - expected
                before, expected, limit = shot, shot.number + 1, self.silence
                last = time.monotonic()
                if last - shot.at > LATE_SECONDS:
                    self.tally.late += 1
                    continue
                pixels.flags.writeable = False
                yield pixels, shot.at
            if process.why:
                self._failed(process.why)
        finally:
            process.close()

    def _measure(self, seconds: float) -> None:
        if self.slowness == 1:
            self.usual = seconds if self.usual == 0 else 0.95 * self.usual + 0.05 * seconds

    def _failed(self, why: str) -> None:
        if why != self.tally.trouble:
            log.warning("no pictures: %s; trying again", why)
        self.tally.trouble = why
