"""Depth of pixels: how an image of more than 8 bits per channel becomes one of 8. Models see 8 bits.

    8 bits      as they are
    16 bits     the upper 8 bits: each value is divided by 256
    12 of 16    the values of a 12-bit camera, stored in 16 bits: if no value exceeds 4095, each is divided by 16
    others      are not read: floating point from 0 to 1 and from 0 to 255 look alike, and so do other integers

The file alone decides, so that the audit, the build, `vedette verify` and a device see the same pixels. A picture of 16
bits with no value over 4095 would be nearly black; the audit says how many pictures are read in which way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_TWELVE_BITS = 4095


def count_bits(pixels: NDArray[Any]) -> int | None:
    """Bits per channel that an image uses, 8, 12 or 16; None: it has no integers of 8 or 16 bits."""
    if pixels.dtype == np.uint8:
        return 8
    if pixels.dtype != np.uint16:
        return None
    return 12 if int(pixels.max(initial=0)) <= _TWELVE_BITS else 16


def to_eight_bits(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """An image of 8, 12 or 16 bits per channel as uint8."""
    return pixels if bits == 8 else (pixels >> (bits - 8)).astype(np.uint8)
