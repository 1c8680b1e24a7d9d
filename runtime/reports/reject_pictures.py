"""Pictures of rejected parts for a report: those that the evidence rules of the camera allow now, small, or why not.

A report leaves the device. So a picture is left out if the camera's file forbids it today: evidence is off, the
picture is older than it may be, or it is older than the file, which hides parts of pictures, faces or plates. A picture
of the workshop is left out where pictures are blurred, or faces or plates hidden, as the recorder does it.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import msgspec
import numpy as np

from ..config.configuration import Config
from ..evidence.reviews import EVENT_PATTERN
from ..evidence.store import GOOD_SUFFIX, HEAT_SUFFIX, PICTURE_SUFFIXES, find_evidence
from ..evidence.thumbnail import encode_picture

MAX_PICTURE_BYTES = 49_152
"""Of a picture in a report; the same for the good part."""
MAX_HEAT_BYTES = 32_768
MAX_FILE_BYTES = 16 << 20  # a larger file is not read
_DAY_SECONDS = 86400.0


class RejectPictures(msgspec.Struct, frozen=True):
    """The pictures of one rejected part as `data:` addresses; an empty one is missing."""

    picture: str = ""
    heat: str = ""
    """To lay over the picture."""
    good: str = ""
    """Of the most similar good part."""
    missing: tuple[str, ...] = ()
    """What is missing, and why."""


class PictureRules:
    """What the evidence rules of a camera allow to show of its stored pictures.

    Args:
        settings: of the camera
        now: seconds since 1970, UTC
    """

    def __init__(self, settings: Config, now: float | None = None) -> None:
        self.evidence = settings.evidence
        self.folder = self.evidence.store_folder(settings.camera, settings.state_folder)
        self.oldest = (time.time() if now is None else now) - _DAY_SECONDS * self.evidence.days
        privacy = settings.privacy
        hides = bool(self.evidence.blur or privacy.faces == "hide" or privacy.number_plates == "hide")
        self.hides = hides or bool(privacy.zones)
        self.changed = settings.camera_file.stat().st_mtime
        self.shows_good = not hides

    def read_pictures(self, event: str) -> RejectPictures:
        """The pictures of a rejected part, by the id of its event."""
        path = self._find(event, PICTURE_SUFFIXES) if re.match(EVENT_PATTERN, event) else None
        refusal = self._find_refusal(path)
        picture = "" if path is None or refusal else _shrink(path)
        if not picture:
            return RejectPictures(missing=(f"no picture: {refusal or 'the file cannot be read'}",))
        heat, good = self._read_heat(event), self._read_good(event)
        found = (("heat map: the model gives none, or it was not stored", heat), (self._why_no_good(), good))
        return RejectPictures(picture, heat, good, tuple(f"no {reason}" for reason, address in found if not address))

    def _find_refusal(self, path: Path | None) -> str:
        """Why a stored picture may not be shown; empty: it may."""
        if not self.evidence.thumbnail:
            return "[evidence] thumbnail is off in the camera's file"
        if path is None:
            return "not stored when the part was rejected, or deleted since ([evidence] quota and days)"
        try:
            stored = path.stat().st_mtime
        except OSError as error:
            return error.strerror or "the file cannot be read"
        if stored < self.oldest:
            return f"older than {self.evidence.days:g} days ([evidence] days)"
        if self.hides and stored < self.changed:
            return "older than the camera's file, which hides parts of pictures; nobody knows what was hidden then"
        return ""

    def _find(self, event: str, suffixes: Iterable[str]) -> Path | None:
        return next((path for each in suffixes if (path := find_evidence(self.folder, f"{event}{each}"))), None)

    def _read_heat(self, event: str) -> str:
        path = self._find(event, (HEAT_SUFFIX,))
        data = b"" if path is None else _read(path, MAX_HEAT_BYTES)
        return _as_address(data, "image/png") if _decode(data) is not None else ""

    def _read_good(self, event: str) -> str:
        path = self._find(event, (GOOD_SUFFIX,)) if self.shows_good else None
        return "" if path is None else _shrink(path)

    def _why_no_good(self) -> str:
        if not self.shows_good:
            hidden = "pictures are blurred, faces hidden or plates hidden"
            return f"good part beside it: {hidden}, and in it that cannot be done"
        return "good part beside it: the bundle has no pictures of good parts, or it was not stored"


def _shrink(path: Path) -> str:
    """A picture as JPEG within the limits; empty: it cannot be read."""
    pixels = _decode(_read(path, MAX_FILE_BYTES), cv2.IMREAD_COLOR)
    return "" if pixels is None else _as_address(encode_picture(pixels, "jpeg", MAX_PICTURE_BYTES), "image/jpeg")


def _decode(data: bytes, mode: int = cv2.IMREAD_UNCHANGED) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), mode) if data else None
    except cv2.error:
        return None


def _read(path: Path, limit: int) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_size <= limit else b""
    except OSError:
        return b""


def _as_address(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
