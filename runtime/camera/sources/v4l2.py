"""A camera at this machine.

    v4l2:/dev/v4l/by-id/usb-046d_C270-video-index0?width=1280&height=720&fps=30&format=MJPG&exposure=200

A path in /dev/v4l/by-id names the camera, one in /dev/v4l/by-path the socket that it is in; /dev/video0 is whichever
came first. What is not given stays as the camera has it; the other settings are those of capture/video4linux.py.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote, urlsplit

import msgspec

from ...errors import ConfigProblem
from ...plugins import options
from . import Address, Pixels, Rate
from .live_camera import Live


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """Behind `?`."""

    width: Pixels = 0
    height: Pixels = 0
    fps: Rate = 0.0
    format: Annotated[str, msgspec.Meta(pattern="^(|.{4})$")] = ""
    """Four letters, as MJPG or YUYV."""
    auto_exposure: float | None = None
    exposure: float | None = None
    gain: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = None
    sharpness: float | None = None
    auto_white_balance: float | None = None
    white_balance: float | None = None
    autofocus: float | None = None
    focus: float | None = None
    zoom: float | None = None


class V4l2(Live):
    """See above."""

    def __init__(self, address: Address) -> None:
        parts = urlsplit(address.url)
        path = unquote(parts.path)
        if not path.startswith("/dev/"):
            hint = "name the device file, as v4l2:/dev/v4l/by-id/…; ls /dev/v4l/by-id shows them"
            raise ConfigProblem(f"source {address.url}: {path!r} is no device", hint=hint)
        asked = msgspec.structs.asdict(options(parts.query, Options, f"source {address.url}"))
        mode = {key: asked.pop(key) for key in ("width", "height", "fps", "format")}
        controls = {name: value for name, value in asked.items() if value is not None}
        spec = {"reader": "video4linux", "path": path, **mode, "controls": controls}
        super().__init__(address, spec, mode["fps"])
