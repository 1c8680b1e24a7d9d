"""Video clips of the start of an event: one half before it, one half after.

The last frames are kept in memory as small JPEG images, at most ten a second and within a limit of bytes. After the
second half, a thread encodes the clip, so that no camera waits for it.

The format is MPEG-4 Part 2 in .mp4, which OpenCV's own wheel can write and every player shows, but few browsers.
Measured there with 60 frames of 768 x 432 on one x86 core (OpenCV 5.0): 0.1 s and 170 kB; VP8 1.0 s and 410 kB; VP9 10
s and 400 kB; Motion JPEG 0.3 s and 1.6 MB. The wheel has no encoder for H.264 or AV1.
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

from ..errors import MachineProblem
from .face_guard import FaceGuard
from .thumbnail import MAX_SIDE

log = logging.getLogger(__name__)

CLIP_SUFFIX = ".mp4"
_MIN_INTERVAL_SECONDS = 0.095  # a little less than a tenth: at most ten frames a second
_JPEG_QUALITY = 80
_MAX_QUEUED = 4  # clips: each holds its frames in memory
_MIN_MAX_FPS = (1.0, 30.0)


class JpegFrame(msgspec.Struct, frozen=True):
    """A past frame as JPEG."""

    moment: float
    jpeg: bytes


class FrameRing:
    """A ring buffer of the frames of the last `seconds`, of at most `max_bytes`."""

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self.seconds, self.max_bytes = seconds, max_bytes
        self.frames: deque[JpegFrame] = deque()
        self.bytes = 0

    def is_due(self, moment: float) -> bool:
        """True if a frame of this time is to be added: not too soon after the previous one."""
        return not self.frames or not 0 <= moment - self.frames[-1].moment < _MIN_INTERVAL_SECONDS

    def add(self, moment: float, pixels: Any) -> None:
        """Adds a frame, H x W x 3, uint8, and drops frames that are too old or over the limit of bytes."""
        scale = min(1.0, MAX_SIDE / max(pixels.shape[:2]))
        if scale < 1:
            pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        self.frames.append(JpegFrame(moment, bytes(encoded)))
        self.bytes += len(encoded)
        while self.bytes > self.max_bytes or self.frames[0].moment < moment - self.seconds:
            self.bytes -= len(self.frames.popleft().jpeg)
            if not self.frames:
                return

    def frames_between(self, first: float, last: float) -> tuple[JpegFrame, ...]:
        """The frames taken from `first` to `last`."""
        return tuple(frame for frame in self.frames if first <= frame.moment <= last)


def encode_clip(frames: tuple[JpegFrame, ...], guard: FaceGuard | None = None) -> bytes:
    """The frames as a video file; empty if OpenCV cannot write one.

    Args:
        frames: in order
        guard: hides the faces in them, if any

    Raises:
        MachineProblem: the guard does not work.
    """
    seconds = frames[-1].moment - frames[0].moment
    rate = (len(frames) - 1) / seconds if seconds > 0 else _MIN_MAX_FPS[0]
    with tempfile.TemporaryDirectory(prefix="vedette-") as folder:
        path = Path(folder, f"clip{CLIP_SUFFIX}")
        pictures = [_decode_jpeg(frame) for frame in frames]
        if guard is not None:
            pictures = guard.hide_in_clip(pictures)
        height, width = pictures[0].shape[:2]
        codec, rate = cv2.VideoWriter.fourcc(*"mp4v"), min(max(rate, _MIN_MAX_FPS[0]), _MIN_MAX_FPS[1])
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, rate, (width, height))
        try:
            for picture in pictures:
                writer.write(picture)
        finally:
            writer.release()
        return path.read_bytes() if path.is_file() else b""


class ClipEncoder(threading.Thread):
    """A thread that encodes clips one after the other; `on_clip` gets the event's id and the bytes of its clip."""

    def __init__(self, on_clip: Callable[[str, bytes], None], guard: FaceGuard | None = None) -> None:
        super().__init__(name="clips", daemon=True)
        self.on_clip, self.guard = on_clip, guard
        self.jobs: queue.SimpleQueue[tuple[str, tuple[JpegFrame, ...]] | None] = queue.SimpleQueue()

    def enqueue(self, event: str, frames: tuple[JpegFrame, ...]) -> None:
        """Queues the clip of an event."""
        if self.jobs.qsize() >= _MAX_QUEUED:
            log.warning("event %s has no clip: %d others are still in the queue", event, _MAX_QUEUED)
        elif frames:
            self.jobs.put((event, frames))

    def run(self) -> None:
        while (job := self.jobs.get()) is not None:
            event, frames = job
            try:
                data = encode_clip(frames, self.guard)
            except (OSError, MachineProblem) as error:
                log.warning("event %s has no clip: %s", event, error)
                continue
            if data:
                self.on_clip(event, data)
            else:
                log.warning("event %s has no clip: this OpenCV cannot write MPEG-4", event)

    def close(self) -> None:
        """Encodes the queued clips, then ends the thread."""
        self.jobs.put(None)
        if self.is_alive():
            self.join()


def _decode_jpeg(frame: JpegFrame) -> Any:
    return cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
