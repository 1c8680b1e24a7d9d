"""A camera that is connected to this machine.

    v4l2:/dev/v4l/by-id/usb-046d_C270-video-index0?width=1280&height=720&fps=30&format=MJPG&exposure=200

A path in /dev/v4l/by-id names the camera, one in /dev/v4l/by-path its socket; /dev/video0 is the camera that was found
first. Options that are not given keep the camera's value. capture/video4linux.py maps the controls to OpenCV's.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote, urlsplit

import msgspec

from ...errors import ConfigProblem
from ...plugin_tables import parse_options
from . import FrameRate, SideLength, SourceAddress
from .live_camera import LiveCamera


class V4l2Options(msgspec.Struct, forbid_unknown_fields=True):
    """Options after `?`."""

    width: SideLength = 0
    height: SideLength = 0
    fps: FrameRate = 0.0
    format: Annotated[str, msgspec.Meta(pattern="^(|.{4})$")] = ""
    """FourCC of the pixel format, such as MJPG or YUYV."""
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


class V4l2Source(LiveCamera):
    """A V4L2 camera."""

    def __init__(self, address: SourceAddress) -> None:
        parts = urlsplit(address.url)
        path = unquote(parts.path)
        if not path.startswith("/dev/"):
            hint = "name the device file, as v4l2:/dev/v4l/by-id/…; ls /dev/v4l/by-id shows them"
            raise ConfigProblem(f"source {address.url}: {path!r} is not a device", hint=hint)
        options = msgspec.structs.asdict(parse_options(parts.query, V4l2Options, f"source {address.url}"))
        mode = {key: options.pop(key) for key in ("width", "height", "fps", "format")}
        controls = {name: value for name, value in options.items() if value is not None}
        spec = {"reader": "video4linux", "path": path, **mode, "controls": controls}
        super().__init__(address, spec, mode["fps"])
