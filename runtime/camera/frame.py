"""One frame of a camera."""

from __future__ import annotations

from typing import Any

import msgspec
from numpy.typing import NDArray


class Frame(msgspec.Struct, frozen=True, eq=False):
    """A frame, as sources yield it."""

    camera: str
    number: int
    """Counts from 0 for each start of the daemon."""
    taken: float
    """Time of capture: seconds since 1970, UTC. Rules decide by this, never by the clock."""
    pixels: NDArray[Any]
    """H x W x 3, uint8, blue-green-red as OpenCV delivers it, read-only."""
