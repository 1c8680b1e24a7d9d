"""The size of a recording as H.264, to compare published events with a video stream.

If the recording is H.264, its own packets are counted, without audio and container. Otherwise it is encoded by x264
with its default quality and speed (crf 23, preset medium). A camera's own encoder is optimized for speed, so its stream
is probably larger. Only this module needs PyAV.
"""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..camera import sources
from ..camera.sources import SourceAddress
from ..distribution import install_command
from ..errors import MachineProblem

_CRF, _PRESET = "23", "medium"
_TICKS_PER_SECOND = 90_000
_NOMINAL_FPS = 10
_ENCODERS: dict[str, dict[str, str]] = {"libx264": {"crf": _CRF, "preset": _PRESET}, "libopenh264": {}}


class H264Stream(msgspec.Struct, frozen=True):
    """A recording as H.264."""

    bytes: int
    frames: int
    encoder: str
    """`its own`, or the encoder with its settings."""


def measure_h264_size(address: SourceAddress, path: Path) -> H264Stream:
    """The H.264 size of the recording at `path`, whose frames `address` delivers.

    Raises:
        MachineProblem: PyAV is missing, or has no H.264 encoder.
    """
    try:
        import av
    except ImportError:
        hint = install_command("traffic")
        raise MachineProblem("measuring a stream as H.264 needs PyAV, which is missing", hint) from None
    own_stream = _read_own_stream(av, path) if path.is_file() else None
    return own_stream or _encode_stream(av, address)


def _read_own_stream(av: Any, path: Path) -> H264Stream | None:
    try:
        with av.open(str(path)) as container:
            if not container.streams.video or container.streams.video[0].codec_context.name != "h264":
                return None
            sizes = [packet.size for packet in container.demux(video=0) if packet.size]
    except av.error.FFmpegError:  # not a video, but images
        return None
    return H264Stream(sum(sizes), len(sizes), "its own")


def _encode_stream(av: Any, address: SourceAddress) -> H264Stream:
    name = next((each for each in _ENCODERS if each in av.codec.codecs_available), None)
    if name is None:
        hint = "install PyAV's own wheel: pip install --force-reinstall --only-binary av av"
        raise MachineProblem(f"this PyAV {av.__version__} has no encoder for H.264", hint)
    context: Any = None
    size = frames = 0
    for frame in sources.load_source(address).frames(threading.Event()):
        assert frame is not None  # a recording never yields None
        video_frame = av.VideoFrame.from_ndarray(_pad_to_even(frame.pixels), format="bgr24").reformat(format="yuv420p")
        if context is None:
            context = av.codec.CodecContext.create(name, "w")
            context.width, context.height, context.pix_fmt = video_frame.width, video_frame.height, "yuv420p"
            context.time_base, context.options = Fraction(1, _TICKS_PER_SECOND), _ENCODERS[name]
            context.framerate = Fraction(_NOMINAL_FPS)
            first = frame.taken
        video_frame.pts, video_frame.time_base = (
            round(_TICKS_PER_SECOND * (frame.taken - first)),
            Fraction(1, _TICKS_PER_SECOND),
        )
        size += sum(packet.size for packet in context.encode(video_frame))
        frames += 1
    size += sum(packet.size for packet in context.encode(None))
    settings = ", ".join(f"{key} {value}" for key, value in _ENCODERS[name].items())
    return H264Stream(size, frames, f"{name}, {settings}" if settings else name)


def _pad_to_even(pixels: Any) -> Any:
    """Repeats the last row or column if their number is odd: H.264 stores color for pairs of them."""
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(pixels)
