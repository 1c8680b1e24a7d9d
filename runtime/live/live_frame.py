"""A frame of a camera as viewers on this machine see it, and the message that carries all of it but the pixels."""

from __future__ import annotations

from typing import Any

import msgspec
from numpy.typing import NDArray

from ..config.polygon import Polygon
from ..inference.prediction import Prediction
from ..rules.open_event import OpenEvent

SOCKET_NAME = "live.sock"
MAX_SIDE = 640
"""Pixels of the longer side of a picture."""
MAX_MESSAGE = 1 << 17
"""Bytes of a message; predictions beyond it are left out."""
REQUEST = b"?"
"""What a reader sends to ask for the next frame. It also says that the reader has copied the one before."""


class LiveFrame(msgspec.Struct, frozen=True, eq=False):
    """One frame with what the daemon made of it."""

    moment: float
    """`Frame.moment`: seconds of a clock that never steps."""
    taken: float
    """`Frame.taken`: seconds since 1970, UTC."""
    number: int
    """`Frame.number`: counts from 0 for each start of the daemon."""
    pixels: NDArray[Any]
    """H x W x 3, uint8, red-green-blue, at most MAX_SIDE pixels wide and high; privacy zones are black."""
    predictions: tuple[Prediction, ...]
    """Boxes are fractions 0…1 of the whole frame."""
    score: float | None
    """Highest score of a label that raises alarms; 0: there is none in the frame; None: no prediction yet."""
    threshold: float
    """The bundle's threshold."""
    model: str
    """The bundle's `model_id`."""
    heat_map: NDArray[Any] | None
    """Anomaly models: h x w, float32, over the whole frame, in the unit of the score; NaN where the model does not see
    the frame. None: the model makes none."""
    open_rules: tuple[OpenEvent, ...]
    """The open events, each with its reason (`why`)."""
    limit: float
    """Score at which the first rule `presence` opens an event; without such a rule the bundle's threshold."""
    region: Polygon = ()
    """The region of interest that the daemon runs with, fractions 0…1 of the frame; empty: the whole frame."""


class FrameDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """A live frame without its arrays."""

    moment: float
    taken: float
    number: int
    predictions: tuple[Prediction, ...]
    score: float | None
    threshold: float
    model: str
    open_rules: tuple[OpenEvent, ...] = ()
    limit: float | None = None
    region: Polygon = ()


class FrameMessage(msgspec.Struct, frozen=True, array_like=True):
    """What a reader receives for a request, with a descriptor of the memory if that is new to the reader."""

    details: FrameDetails
    offset: int
    """Bytes from the start of the memory to the picture, whose pixels are blue-green-red there."""
    shape: tuple[int, int]
    """Height and width of the picture."""
    heat_shape: tuple[int, int] | None
    """Height and width of the heat map, which follows the picture; None: there is none."""


def heat_offset(pixel_bytes: int) -> int:
    """Bytes from the start of a picture to its heat map, which is aligned for float32."""
    return -(-pixel_bytes // 8) * 8
