"""A camera for machine vision, GigE Vision or USB3 Vision (GenICam).

    genicam:Basler-acA1920-40gm-22954321?trigger=Line1&exposure=800&gain=6&format=Mono8

It is read through aravis (capture/genicam.py), a library of the system: apt install libaravis-0.8-0. The name is one
that `arv-tool-0.8` or `vedette setup` lists, a serial number, or the address of a network camera; without a name it is
the only camera. Options that are not given keep the camera's value.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from ...errors import ConfigProblem
from ...plugin_tables import parse_options
from . import FrameRate, SideLength, SourceAddress, TimeoutSeconds
from .live_camera import LiveCamera

_Positive = Annotated[float, msgspec.Meta(gt=0, le=1e8)]


class GenicamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Options after `?`."""

    trigger: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Input of the camera that triggers a picture, such as `Line1`; empty: it runs by itself."""
    activation: Literal["rising", "falling", "any"] = "rising"
    """Edge of that input."""
    exposure: _Positive | None = None
    """Microseconds."""
    gain: Annotated[float, msgspec.Meta(ge=-100, le=1000)] | None = None
    """In the camera's unit, mostly dB."""
    format: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Name of the pixel format, such as `Mono8` or `BayerRG8`."""
    width: SideLength = 0
    """With `height`: the region of the sensor."""
    height: SideLength = 0
    left: SideLength = 0
    top: SideLength = 0
    fps: FrameRate = 0.0
    """Without a trigger."""
    timeout: TimeoutSeconds = 5.0
    """Seconds within which a frame must come, without a trigger."""
    timestamps: Literal["camera", "chunk", "host"] = "camera"
    """What says when a picture was taken: the camera's clock, in the picture's header or in its chunk data, or the
    clock of this machine."""


class GenicamSource(LiveCamera):
    """A GenICam camera."""

    def __init__(self, address: SourceAddress) -> None:
        parts = urlsplit(address.url)
        name = unquote(parts.path)
        if parts.netloc or len(name) > 200 or not name.isprintable():
            hint = "write genicam:NAME, without slashes; the name of the camera, its serial number or its address"
            raise ConfigProblem(f"source {address.url}: no name of a camera", hint=hint)
        options = msgspec.structs.asdict(parse_options(parts.query, GenicamOptions, f"source {address.url}"))
        if bool(options["width"]) != bool(options["height"]):
            raise ConfigProblem(f"source {address.url}: width and height go together", hint="give both, or none")
        if options["trigger"] and options["fps"]:
            hint = "leave fps out: the trigger says when a picture is taken"
            raise ConfigProblem(f"source {address.url}: trigger and fps exclude each other", hint=hint)
        super().__init__(address, {"reader": "genicam", "name": name, **options}, options["fps"])
