"""A recording: a video, a folder of images, or a glob of images.

    file:/var/recordings/door.mp4
    file:parts?fps=5&loop=true
    file:parts/*.png?fps=0

`fps` is the frame rate; without it a video has its own rate and images have 10; with 0 frames come as fast as they are
processed. No frame is dropped: each waits for the one before it, so a recording replays exactly.
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
from ...plugin_tables import parse_options
from .. import image_files
from ..capture.privacy_mask import PrivacyMask
from ..frame import Frame
from . import FrameRate, SourceAddress

log = logging.getLogger(__name__)

_IMAGE_RATE = 10.0


class FileOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Options after `?`."""

    fps: FrameRate | None = None
    loop: bool = False


class FileSource:
    """Frames of a recording."""

    frame_counts = None

    def __init__(self, address: SourceAddress) -> None:
        parts = urlsplit(address.url)
        self.camera = address.camera
        self.path = address.base_folder / unquote(parts.path)
        self.query = parse_options(parts.query, FileOptions, f"source {address.url}")
        self.mask = PrivacyMask(address.zones)
        try:
            self.images = self._list_images()
            found = self.images or self.path.is_file()
        except OSError as error:
            hint = "let the daemon's user read it"
            raise ConfigProblem(f"source {address.url}: {self.path}: {error.strerror}", hint=hint) from None
        if not found:
            raise ConfigProblem(f"source {address.url}: no video or images at {self.path}", hint="check the path")

    def slow_down(self, factor: float) -> None:
        """Does nothing: a recording keeps its own rate."""

    def _list_images(self) -> list[Path]:
        if self.path.is_dir():
            return image_files.filter_images(self.path.iterdir())
        if "*" in self.path.name:
            return image_files.filter_images(self.path.parent.glob(self.path.name))
        return image_files.filter_images([self.path])

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        number = 0
        started, monotonic_start = time.time(), time.monotonic()
        while not stop.is_set():
            first = number
            for pixels, own_rate in self._read_images():
                rate = self.query.fps or own_rate
                if self.query.fps != 0:
                    stop.wait(max(0.0, monotonic_start + number / rate - time.monotonic()))
                if stop.is_set():
                    return
                pixels.flags.writeable = False
                yield Frame(self.camera, number, started + number / rate, pixels, number / rate)
                number += 1
            if number == first:
                raise MachineProblem(f"{self.path}: no frame can be read", hint="check that the file plays")
            if not self.query.loop:
                return

    def _read_images(self) -> Iterator[tuple[NDArray[Any], float]]:
        """Each image with the rate of the recording."""
        for path in self.images:
            try:
                image = image_files.read_image(path)
            except ConfigProblem as problem:
                log.warning("%s; skipped", problem.message)
            else:
                yield self.mask(image), _IMAGE_RATE
        if self.images:
            return
        capture = cv2.VideoCapture(str(self.path))
        try:
            rate = capture.get(cv2.CAP_PROP_FPS) or _IMAGE_RATE
            while True:
                ok, image = capture.read()
                if not ok:
                    return
                yield self.mask(image), rate
        finally:
            capture.release()
