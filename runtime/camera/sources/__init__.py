"""Frame sources, chosen by the scheme of a URL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Protocol

import msgspec

from ...config.configuration import MAX_PIXELS, Config
from ...config.polygon import Polygon
from ...plugin_tables import load_plugin, split_url
from ..frame import Frame

SOURCES = {
    "file": ".file:FileSource",
    "v4l2": ".v4l2:V4l2Source",
    "rtsp": ".network_stream:NetworkStream",
    "rtsps": ".network_stream:NetworkStream",
    "http": ".network_stream:NetworkStream",
    "https": ".network_stream:NetworkStream",
    "picamera": ".picamera:PicameraSource",
    "genicam": ".genicam:GenicamSource",
}

# What options in a URL may be.
FrameRate = Annotated[float, msgspec.Meta(ge=0, le=1000)]
TimeoutSeconds = Annotated[float, msgspec.Meta(gt=0, le=600)]
SideLength = Annotated[int, msgspec.Meta(ge=0, le=16384)]


class SourceAddress(msgspec.Struct, frozen=True):
    """The URL of a camera, its login and its privacy zones."""

    camera: str
    url: str
    base_folder: Path
    """Folder in which a relative path of the URL starts."""
    username: str = ""
    password_file: str = ""
    max_silence: float = 5.0
    """Seconds without a frame after which the capture process is restarted."""
    zones: tuple[Polygon, ...] = ()
    """Privacy zones, black in every frame."""
    max_pixels: int = MAX_PIXELS
    """Most pixels of a frame; a larger one is never decoded."""

    @classmethod
    def from_config(cls, settings: Config) -> SourceAddress:
        """The address of a configured camera."""
        silence = 0.8 * settings.health.stalled  # shorter, so that the reason is known when the fault is reported
        return cls(
            settings.camera,
            settings.source,
            settings.base,
            settings.username,
            settings.password_file,
            max_silence=silence,
            zones=settings.privacy.zones,
            max_pixels=settings.max_pixels,
        )


class FrameCounts(msgspec.Struct):
    """Counters of a camera's frames since the start of the daemon."""

    dropped: int = 0
    """Frames that a newer one replaced before they were processed."""
    late: int = 0
    """Frames that were too old to be processed."""
    unstamped: int = 0
    """Frames without the time of exposure that the camera was asked for; the time in their header counts instead."""
    restarts: int = 0
    """Starts of the capture process after the first."""
    trouble: str = ""
    """Why no frames come; empty while they do."""


class FrameSource(Protocol):
    """A camera or a recording."""

    frame_counts: FrameCounts | None
    """Counters of a camera; None for a recording, which loses no frame."""

    def slow_down(self, factor: float) -> None:
        """Multiplies the usual interval between frames; a recording ignores it."""

    def frames(self, stop: threading.Event) -> Iterator[Frame | None]:
        """Frames as they come, until there are no more or `stop` is set; None at least every second without one.

        Raises:
            MachineProblem: nothing can be read.
        """


def load_source(address: SourceAddress) -> FrameSource:
    """Loads the source at an address.

    Raises:
        ConfigProblem: the scheme is unknown, or the rest of the URL is invalid.
    """
    source: FrameSource = load_plugin(__package__, SOURCES, split_url(address.url, "source").scheme, "source")(address)
    return source
