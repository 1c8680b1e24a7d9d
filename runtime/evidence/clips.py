"""A short clip about the beginning of an event: half of it before, half after.

The last pictures are kept in memory as JPEG, small and at most ten a second, within a bound of bytes. When the second
half has been seen, a thread of its own writes the clip, so that no camera waits for it.

It is MPEG-4 Part 2 in .mp4, which OpenCV's own wheel can write and every player shows, though few browsers do. Measured
there with 60 pictures of 768 x 432 on one x86 core (OpenCV 5.0): 0.1 s and 170 kB; VP8 1.0 s and 410 kB; VP9 10 s and
400 kB; Motion JPEG 0.3 s and 1.6 MB. The wheel has no encoder for H.264 or AV1.
"""

from __future__ import annotations

import logging
import queue
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from .thumbnail import SIDE

log = logging.getLogger(__name__)

SUFFIX = ".mp4"
_APART = 0.095  # seconds
_QUALITY = 80
_MOST_WAITING = 4  # clips: each holds its pictures in memory
_RATES = (1.0, 30.0)


class Shot(msgspec.Struct, frozen=True):
    """A picture of the past."""

    taken: float
    jpeg: bytes


class Ring:
    """The last `seconds` of pictures, in at most `memory` bytes."""

    def __init__(self, seconds: float, memory: int) -> None:
        self.seconds, self.memory = seconds, memory
        self.shots: deque[Shot] = deque()
        self.bytes = 0

    def wants(self, taken: float) -> bool:
        """Whether a picture taken then would be kept: not right after another."""
        return not self.shots or not 0 <= taken - self.shots[-1].taken < _APART

    def add(self, taken: float, pixels: Any) -> None:
        """Keeps a picture, H x W x 3, uint8, and lets go of what is too old or too much."""
        scale = min(1.0, SIDE / max(pixels.shape[:2]))
        if scale < 1:
            pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        _, written = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        self.shots.append(Shot(taken, bytes(written)))
        self.bytes += len(written)
        while self.bytes > self.memory or self.shots[0].taken < taken - self.seconds:
            self.bytes -= len(self.shots.popleft().jpeg)
            if not self.shots:
                return

    def between(self, first: float, last: float) -> tuple[Shot, ...]:
        """Those taken then."""
        return tuple(shot for shot in self.shots if first <= shot.taken <= last)


def encoded(shots: tuple[Shot, ...]) -> bytes:
    """They as a video; empty where OpenCV cannot write one."""
    lasts = shots[-1].taken - shots[0].taken
    rate = (len(shots) - 1) / lasts if lasts > 0 else _RATES[0]
    with tempfile.TemporaryDirectory(prefix="vedette-") as folder:
        path = Path(folder, f"clip{SUFFIX}")
        height, width = _pixels(shots[0]).shape[:2]
        four, rate = cv2.VideoWriter.fourcc(*"mp4v"), min(max(rate, _RATES[0]), _RATES[1])
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, four, rate, (width, height))
        try:
            for shot in shots:
                writer.write(_pixels(shot))
        finally:
            writer.release()
        return path.read_bytes() if path.is_file() else b""


class Clips(threading.Thread):
    """Writes clips, one after the other; `done` takes the event and its clip's bytes."""

    def __init__(self, done: Callable[[str, bytes], None]) -> None:
        super().__init__(name="clips", daemon=True)
        self.done = done
        self.jobs: queue.SimpleQueue[tuple[str, tuple[Shot, ...]] | None] = queue.SimpleQueue()

    def write(self, event: str, shots: tuple[Shot, ...]) -> None:
        """Asks for the clip of that event."""
        if self.jobs.qsize() >= _MOST_WAITING:
            log.warning("event %s has no clip: %d others are not written yet", event, _MOST_WAITING)
        elif shots:
            self.jobs.put((event, shots))

    def run(self) -> None:
        while (job := self.jobs.get()) is not None:
            event, shots = job
            try:
                data = encoded(shots)
            except OSError as error:
                log.warning("event %s has no clip: %s", event, error)
                continue
            if data:
                self.done(event, data)
            else:
                log.warning("event %s has no clip: OpenCV writes no MPEG-4 here", event)

    def close(self) -> None:
        """Ends it, once what was asked for is written."""
        self.jobs.put(None)
        if self.is_alive():
            self.join()


def _pixels(shot: Shot) -> Any:
    return cv2.imdecode(np.frombuffer(shot.jpeg, np.uint8), cv2.IMREAD_COLOR)
