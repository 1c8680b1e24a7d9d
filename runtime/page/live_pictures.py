"""Live pictures for viewers: one reader of live frames per viewer, and each frame as one message of bytes.

A viewer asks for the next picture when it has shown the last one, so a slow connection gets fewer pictures and never
late ones. A reader that was not used for some seconds is closed, and then the daemon copies nothing. JPEG is made by
Pillow, which takes a fifth of OpenCV's memory.
"""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from ..config.polygon import Polygon
from ..inference.prediction import Prediction
from ..live.frame_reader import LiveFrameReader
from ..live.live_frame import LiveFrame
from ..monitoring.status import request_status
from ..rules.open_event import OpenEvent
from .plain_number import format_plain
from .translation import Translation

MAX_VIEWERS = 4
"""Readers at a time, of all cameras."""
IDLE_SECONDS = 10.0
STATUS_SECONDS = 2.0
LEFT_SECONDS = 0.5
"""Of a viewer that did not ask: an open view asks again at once."""
WAIT_SECONDS = 2.0
"""For a frame; a camera may give one every few seconds."""
JPEG_QUALITY = 80
HEAT_SIDE = 96
"""Cells of the longer side of a heat map that a viewer gets."""


class OpenRule(msgspec.Struct, frozen=True):
    """An open event, for a viewer."""

    rule: str
    event: str
    since: str
    """Time of day, in the device's time zone."""
    why: str


class PictureDetails(msgspec.Struct, frozen=True):
    """What stands in front of the JPEG bytes, as JSON."""

    number: int
    taken: float
    age: float
    """Seconds from the frame to this message."""
    score: float | None
    threshold: float
    """Score at which an alarm begins."""
    model: str
    predictions: tuple[Prediction, ...]
    open: tuple[OpenRule, ...]
    frames_per_second: float | None
    latency_ms: float | None
    """Median, from a frame in memory to its events on disk."""
    region: Polygon
    """The region of interest that the camera runs with; empty: the whole frame."""
    since: str
    """Since when the daemon runs, in the device's time zone; empty: unknown."""
    heat_shape: tuple[int, int] | None
    """Rows and columns of the heat map behind the JPEG, one byte a cell: 128 is the threshold, 255 twice as much."""
    jpeg_bytes: int


class DaemonFigures(msgspec.Struct, frozen=True):
    """What a viewer is told of the daemon."""

    frames_per_second: float | None = None
    latency_ms: float | None = None
    since: str = ""


class _Viewer:
    def __init__(self, folder: Path) -> None:
        self.reader, self.lock, self.used = LiveFrameReader(folder), threading.Lock(), time.monotonic()


class LivePictures:
    """The viewers of all cameras. Any thread may call it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.viewers: dict[tuple[str, Path], _Viewer] = {}
        self.figures: dict[Path, tuple[float, DaemonFigures]] = {}
        """What the daemon of each camera last said, with the time at which it was asked."""

    def next_picture(self, viewer: str, folder: Path, translation: Translation) -> bytes | None:
        """The next frame of a camera: length of the JSON (4 bytes, big-endian), JSON, JPEG, heat map.

        Args:
            viewer: tells viewers apart
            folder: the camera's state folder
            translation: the viewer's language

        Returns:
            The message; None: no frame came in time, or no daemon runs.

        Raises:
            BlockingIOError: there are too many viewers, or this one already waits.
        """
        found = self._find(viewer, folder)
        if not found.lock.acquire(blocking=False):
            raise BlockingIOError
        try:
            frame = found.reader.read(WAIT_SECONDS)
            found.used = time.monotonic()
        finally:
            found.lock.release()
        if frame is None:
            return None
        return encode_picture(frame, self._figures(folder), translation)

    def close_idle(self) -> None:
        """Closes the readers that nobody uses."""
        now = time.monotonic()
        with self.lock:
            for key, found in [*self.viewers.items()]:
                if now - found.used > IDLE_SECONDS and found.lock.acquire(blocking=False):
                    found.reader.close()
                    found.lock.release()
                    del self.viewers[key]

    def close(self) -> None:
        """Closes all readers."""
        with self.lock:
            for found in self.viewers.values():
                found.reader.close()
            self.viewers.clear()

    def _find(self, viewer: str, folder: Path) -> _Viewer:
        self.close_idle()
        with self.lock:
            found = self.viewers.get((viewer, folder))
            if found is None:
                if len(self.viewers) >= MAX_VIEWERS:
                    self._close_oldest()
                found = self.viewers[viewer, folder] = _Viewer(folder)
            found.used = time.monotonic()
            return found

    def _close_oldest(self) -> None:
        """Makes room for a viewer: a view that was left a moment ago counts as one until it is idle."""
        now = time.monotonic()
        left = [(each.used, key) for key, each in self.viewers.items() if now - each.used > LEFT_SECONDS]
        for _, key in sorted(left, key=lambda each: each[0]):
            if self.viewers[key].lock.acquire(blocking=False):
                self.viewers.pop(key).reader.close()
                return
        raise BlockingIOError

    def _figures(self, folder: Path) -> DaemonFigures:
        asked, figures = self.figures.get(folder, (float("-inf"), DaemonFigures()))
        if time.monotonic() - asked > STATUS_SECONDS:
            figures = DaemonFigures()
            if (report := request_status(folder)) is not None:
                since = format_since(time.time() - report.uptime_seconds)
                figures = DaemonFigures(report.frames_per_second, report.latency_ms.get("p50"), since)
            self.figures[folder] = (time.monotonic(), figures)
        return figures


def encode_picture(frame: LiveFrame, figures: DaemonFigures, translation: Translation) -> bytes:
    """A frame as one message; see `LivePictures.next_picture`."""
    content = io.BytesIO()
    Image.fromarray(frame.pixels).save(content, "JPEG", quality=JPEG_QUALITY)
    jpeg, heat = content.getvalue(), _encode_heat(frame.heat_map, frame.limit)
    details = PictureDetails(
        number=frame.number,
        taken=frame.taken,
        age=time.time() - frame.taken,
        score=frame.score,
        threshold=frame.limit,
        model=frame.model,
        predictions=frame.predictions,
        open=tuple(
            OpenRule(each.rule, each.event, _format_time(each.since), explain_open(each, translation))
            for each in frame.open_rules
        ),
        frames_per_second=figures.frames_per_second,
        latency_ms=figures.latency_ms,
        region=frame.region,
        since=figures.since,
        heat_shape=None if heat is None else (heat.shape[0], heat.shape[1]),
        jpeg_bytes=len(jpeg),
    )
    text = msgspec.json.encode(details)
    return len(text).to_bytes(4, "big") + text + jpeg + (b"" if heat is None else heat.tobytes())


def explain_open(opened: OpenEvent, _: Translation) -> str:
    """Why an event is open, in the viewer's language: what was measured, beside its limit."""
    subject = opened.label or _("objects")
    if opened.zones:
        subject = _("%(label)s in %(zones)s", label=subject, zones=", ".join(opened.zones))
    values = {"subject": subject, "measured": format_plain(opened.measured, 4), "limit": format_plain(opened.limit, 4)}
    if opened.quantity == "score":
        return _("%(subject)s: score %(measured)s; the limit is %(limit)s", **values)
    if opened.quantity == "objects":
        return _("%(subject)s: %(measured)s objects; the limit is %(limit)s", **values)
    return _("%(subject)s: %(measured)s %(unit)s; the limit is %(limit)s %(unit)s", **values, unit=opened.unit)


def format_since(seconds: float) -> str:
    """A time in minutes, with its date unless it is of today."""
    then, now = time.localtime(seconds), time.localtime()
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)


def _format_time(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def _encode_heat(heat_map: Any, threshold: float) -> Any:
    """The heat map in bytes, coarse enough for a viewer; where the model does not see the frame it is 0."""
    if heat_map is None or not heat_map.size:
        return None
    step = -(-max(heat_map.shape) // HEAT_SIDE)
    coarse = np.nan_to_num(heat_map[::step, ::step], nan=0.0)
    return np.clip(128 * coarse / max(threshold, 1e-9), 0, 255).astype(np.uint8)
