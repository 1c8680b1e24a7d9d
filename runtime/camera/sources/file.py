"""A recording: a video, a folder of images, or a glob of images.

    file:/var/recordings/door.mp4
    file:parts?fps=5&loop=true
    file:parts/*.png?fps=0

`fps` is the frame rate; without it a video has its own rate and images have 10; with 0 frames come as fast as they are
processed. No frame is dropped: each waits for the one before it, so a recording replays exactly. Pictures are decoded
in a process of their own (decoding_process.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from numpy.typing import NDArray

from ...errors import ConfigProblem, MachineProblem
from ...plugin_tables import parse_options
from .. import image_files
from ..frame import Frame
from . import FrameRate, SourceAddress
from .decoding_process import DecodingError, DecodingProcess

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
        self.max_pixels, self.zones = address.max_pixels, address.zones
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
        decoder = DecodingProcess(self.max_pixels, self.zones)
        try:
            yield from self._paced_frames(stop, decoder)
        finally:
            decoder.close()

    def _paced_frames(self, stop: threading.Event, decoder: DecodingProcess) -> Iterator[Frame]:
        number, started, monotonic_start = 0, 0.0, 0.0
        while not stop.is_set():
            first = number
            for pixels, own_rate in self._read_images(decoder):
                rate = self.query.fps or own_rate
                if number == 0:  # not before: the decoding process has to start, and no frame shall make up for that
                    started, monotonic_start = time.time(), time.monotonic()
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

    def _read_images(self, decoder: DecodingProcess) -> Iterator[tuple[NDArray[Any], float]]:
        """Each image with the rate of the recording; without what cannot be decoded, and what follows it in a video."""
        for path in self.images:
            try:
                yield decoder.read_image(path), _IMAGE_RATE
            except DecodingError as error:
                log.warning("%s; skipped", error)
        if self.images:
            return
        try:
            picture = decoder.open_video(self.path)
            while picture is not None:
                yield picture[0], picture[1] or _IMAGE_RATE
                picture = decoder.next_frame()
        except DecodingError as error:
            log.warning("%s: %s; the rest is left out", self.path, error)
