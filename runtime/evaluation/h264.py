"""What a recording is as H.264, so that what is published can be held against what a stream would have been.

Where it is H.264 itself, its own packets are counted, without sound and container. Else it is encoded anew, by x264
with its defaults for quality and speed (crf 23, preset medium). A camera's own encoder is made for speed, so its stream
may well be larger. It takes PyAV, which is asked for by this alone.
"""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..camera import sources
from ..camera.sources import Address
from ..errors import MachineProblem

_CRF, _PRESET = "23", "medium"
_TICKS = 90_000  # a second
_RATE = 10
_ENCODERS: dict[str, dict[str, str]] = {"libx264": {"crf": _CRF, "preset": _PRESET}, "libopenh264": {}}


class Stream(msgspec.Struct, frozen=True):
    """A recording as H.264."""

    bytes: int
    frames: int
    encoder: str
    """What made it: `its own`, or the encoder with its settings."""


def stream(address: Address, path: Path) -> Stream:
    """That of the recording at `path`, which `address` reads.

    Raises:
        MachineProblem: PyAV is missing, or has no encoder for it.
    """
    try:
        import av
    except ImportError:
        hint = "pip install 'vedette[traffic]'"
        raise MachineProblem("the bytes of a stream as H.264 are measured by PyAV, which is missing", hint) from None
    own = _own(av, path) if path.is_file() else None
    return own or _encoded(av, address)


def _own(av: Any, path: Path) -> Stream | None:
    try:
        with av.open(str(path)) as container:
            if not container.streams.video or container.streams.video[0].codec_context.name != "h264":
                return None
            sizes = [packet.size for packet in container.demux(video=0) if packet.size]
    except av.error.FFmpegError:  # no video: images are read otherwise
        return None
    return Stream(sum(sizes), len(sizes), "its own")


def _encoded(av: Any, address: Address) -> Stream:
    name = next((each for each in _ENCODERS if each in av.codec.codecs_available), None)
    if name is None:
        hint = "install PyAV's own wheel: pip install --force-reinstall --only-binary av av"
        raise MachineProblem(f"this PyAV {av.__version__} has no encoder for H.264", hint)
    context: Any = None
    size = frames = 0
    for frame in sources.load(address).frames(threading.Event()):
        assert frame is not None  # of a recording each one comes
        picture = av.VideoFrame.from_ndarray(_even(frame.pixels), format="bgr24").reformat(format="yuv420p")
        if context is None:
            context = av.codec.CodecContext.create(name, "w")
            context.width, context.height, context.pix_fmt = picture.width, picture.height, "yuv420p"
            context.time_base, context.options = Fraction(1, _TICKS), _ENCODERS[name]
            context.framerate = Fraction(_RATE)
            first = frame.taken
        picture.pts, picture.time_base = round(_TICKS * (frame.taken - first)), Fraction(1, _TICKS)
        size += sum(packet.size for packet in context.encode(picture))
        frames += 1
    size += sum(packet.size for packet in context.encode(None))
    settings = ", ".join(f"{key} {value}" for key, value in _ENCODERS[name].items())
    return Stream(size, frames, f"{name}, {settings}" if settings else name)


def _even(pixels: Any) -> Any:
    """With the last row and column twice where their number is odd: H.264 has colour for pairs of them."""
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(pixels)
