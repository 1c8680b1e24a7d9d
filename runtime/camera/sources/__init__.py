"""Where frames come from, chosen by the scheme of a URL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Protocol

import msgspec

from ...config.configuration import Config
from ...config.polygon import Polygon
from ...plugins import choose, split_url
from ..frame import Frame

SOURCES = {
    "file": ".file:File",
    "v4l2": ".v4l2:V4l2",
    "rtsp": ".network_stream:Stream",
    "rtsps": ".network_stream:Stream",
    "http": ".network_stream:Stream",
    "https": ".network_stream:Stream",
    "picamera": ".picamera:Picamera",
}

# What options in a URL may be.
Rate = Annotated[float, msgspec.Meta(ge=0, le=1000)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=600)]
Pixels = Annotated[int, msgspec.Meta(ge=0, le=16384)]


class Address(msgspec.Struct, frozen=True):
    """Which camera, and how to get in."""

    camera: str
    url: str
    base: Path
    """Where a relative path in the URL starts."""
    username: str = ""
    password_file: str = ""
    silence: float = 5.0
    """Seconds without a picture after which what reads a camera is taken for stuck."""
    zones: tuple[Polygon, ...] = ()
    """Polygons that are black in every picture."""

    @classmethod
    def of(cls, settings: Config) -> Address:
        """That of a configured camera."""
        login = settings.username, settings.password_file
        silence = 0.8 * settings.health.stalled  # before it is told that it stalls: the reason is to be known then
        return cls(settings.camera, settings.source, settings.base, *login, silence, settings.privacy.zones)


class Tally(msgspec.Struct):
    """What became of a camera's pictures, since the start of the daemon."""

    dropped: int = 0
    """A newer one was there before it could be looked at."""
    late: int = 0
    """Too old when it could be looked at, and not looked at."""
    restarts: int = 0
    """Attempts at the camera after the first."""
    trouble: str = ""
    """Why no pictures come; empty while they do."""


class Source(Protocol):
    """A camera, or what stands in for one."""

    tally: Tally | None
    """What became of a camera's pictures; a recording, of which none is lost, has none."""

    def slow(self, times: float) -> None:
        """So many times as long as usual lies between two pictures from now on; a recording does not care."""

    def frames(self, stop: threading.Event) -> Iterator[Frame | None]:
        """Frames as they come, until there are no more or `stop` is set; None at least every second without one.

        Raises:
            MachineProblem: nothing can be read.
        """


def load(address: Address) -> Source:
    """The source at that address.

    Raises:
        ConfigProblem: the scheme is unknown, or the rest of the URL does not suit it.
    """
    source: Source = choose(__package__, SOURCES, split_url(address.url, "source").scheme, "source")(address)
    return source
