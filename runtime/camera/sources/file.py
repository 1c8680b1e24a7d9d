"""A recording: a video, a folder of images, or a glob of images.

    file:/var/recordings/door.mp4
    file:parts?fps=5&loop=true
    file:parts/*.png?fps=0

`fps` is how many frames a second are shown; a video's own rate, or 10 for images, where it is not given; 0 shows them
as fast as they are taken. Nothing is dropped: each frame waits for the one before it, so a recording replays exactly.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import cv2
import msgspec
from numpy.typing import NDArray

from ...errors import ConfigProblem, MachineProblem
from ...plugins import options
from .. import image_files
from ..capture.privacy_mask import Mask
from ..frame import Frame
from . import Address, Rate

log = logging.getLogger(__name__)

_RATE = 10.0


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """Behind `?`."""

    fps: Rate | None = None
    loop: bool = False


class File:
    """See above."""

    tally = None

    def __init__(self, address: Address) -> None:
        parts = urlsplit(address.url)
        self.camera = address.camera
        self.path = address.base / unquote(parts.path)
        self.query = options(parts.query, Options, f"source {address.url}")
        self.mask = Mask(address.zones)
        try:
            self.images = self._images()
            found = self.images or self.path.is_file()
        except OSError as error:
            hint = "let the daemon's user read it"
            raise ConfigProblem(f"source {address.url}: {self.path}: {error.strerror}", hint=hint) from None
        if not found:
            raise ConfigProblem(f"source {address.url}: no video or images at {self.path}", hint="check the path")

    def slow(self, times: float) -> None:
        """A recording is shown at its own rate."""

    def _images(self) -> list[Path]:
        if self.path.is_dir():
            return image_files.among(self.path.iterdir())
        if "*" in self.path.name:
            return image_files.among(self.path.parent.glob(self.path.name))
        return image_files.among([self.path])

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        number = 0
        began, ticked = time.time(), time.monotonic()
        while not stop.is_set():
            shown = number
            for pixels, own_rate in self._pictures():
                rate = self.query.fps or own_rate
                if self.query.fps != 0:
                    stop.wait(max(0.0, ticked + number / rate - time.monotonic()))
                if stop.is_set():
                    return
                pixels.flags.writeable = False
                yield Frame(self.camera, number, began + number / rate, pixels)
                number += 1
            if number == shown:
                raise MachineProblem(f"{self.path}: not one frame can be read", hint="check that the file plays")
            if not self.query.loop:
                return

    def _pictures(self) -> Iterator[tuple[NDArray[Any], float]]:
        """Each picture with the rate at which it was taken."""
        for path in self.images:
            try:
                image = image_files.read(path)
            except ConfigProblem as problem:
                log.warning("%s; it is left out", problem.message)
            else:
                yield self.mask(image), _RATE
        if self.images:
            return
        capture = cv2.VideoCapture(str(self.path))
        try:
            rate = capture.get(cv2.CAP_PROP_FPS) or _RATE
            while True:
                ok, image = capture.read()
                if not ok:
                    return
                yield self.mask(image), rate
        finally:
            capture.release()
