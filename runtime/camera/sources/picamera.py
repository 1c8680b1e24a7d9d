"""A camera at a Raspberry Pi's ribbon connector: `picamera:0?width=1280&height=720&fps=15`.

It is read through Picamera2, which comes with Raspberry Pi OS for the system's own Python (apt install
python3-picamera2); `python=` names another.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from ...errors import ConfigProblem
from ...plugin_tables import parse_options
from . import FrameRate, SideLength, SourceAddress, TimeoutSeconds
from .live_camera import LiveCamera


class PicameraOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Options after `?`."""

    width: SideLength = 640
    height: SideLength = 480
    fps: FrameRate = 0.0
    timeout: TimeoutSeconds = 5.0
    """Seconds within which a frame must come."""
    python: str = "/usr/bin/python3"


class PicameraSource(LiveCamera):
    """A camera at the ribbon connector."""

    def __init__(self, address: SourceAddress) -> None:
        parts = urlsplit(address.url)
        if not parts.path.isdigit():
            hint = "write picamera:0; rpicam-hello --list-cameras numbers them"
            raise ConfigProblem(f"source {address.url}: {parts.path!r} is not a camera's number", hint=hint)
        options = msgspec.structs.asdict(parse_options(parts.query, PicameraOptions, f"source {address.url}"))
        python = options.pop("python")
        spec = {"reader": "picamera", "number": int(parts.path), **options}
        super().__init__(address, spec, options["fps"], (python, "-I"))
