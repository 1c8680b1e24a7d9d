"""A camera at a Raspberry Pi's ribbon connector: `picamera:0?width=1280&height=720&fps=15`.

It is read through Picamera2, which comes with Raspberry Pi OS for the system's own Python (apt install
python3-picamera2); `python=` names another.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from ...errors import ConfigProblem
from ...plugins import options
from . import Address, Pixels, Rate, Seconds
from .live_camera import Live


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """Behind `?`."""

    width: Pixels = 640
    height: Pixels = 480
    fps: Rate = 0.0
    timeout: Seconds = 5.0
    """Seconds that a picture may take."""
    python: str = "/usr/bin/python3"


class Picamera(Live):
    """See above."""

    def __init__(self, address: Address) -> None:
        parts = urlsplit(address.url)
        if not parts.path.isdigit():
            hint = "write picamera:0; rpicam-hello --list-cameras numbers them"
            raise ConfigProblem(f"source {address.url}: {parts.path!r} is not a camera's number", hint=hint)
        asked = msgspec.structs.asdict(options(parts.query, Options, f"source {address.url}"))
        python = asked.pop("python")
        spec = {"reader": "picamera", "number": int(parts.path), **asked}
        super().__init__(address, spec, asked["fps"], (python, "-I"))
