"""Pixels of GenICam cameras, by their format's number (PFNC, the pixel format naming convention of the EMVA)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# PFNC names a mosaic by its first row, and so do OpenCV's names of four letters.
_COLORS = {
    0x01080008: ("BayerGR8", cv2.COLOR_BayerGRBG2BGR),
    0x01080009: ("BayerRG8", cv2.COLOR_BayerRGGB2BGR),
    0x0108000A: ("BayerGB8", cv2.COLOR_BayerGBRG2BGR),
    0x0108000B: ("BayerBG8", cv2.COLOR_BayerBGGR2BGR),
    0x01080001: ("Mono8", cv2.COLOR_GRAY2BGR),
}
_DEEP = {
    0x01100003: ("Mono10", 10),
    0x01100005: ("Mono12", 12),
    0x01100025: ("Mono14", 14),
    0x01100007: ("Mono16", 16),
}
_RGB8, _BGR8 = 0x02180014, 0x02180015
FORMATS = (*sorted(name for name, _ in (*_COLORS.values(), *_DEEP.values())), "RGB8", "BGR8")
"""Names of those that can be read."""


def decode_pixels(content: NDArray[np.uint8], width: int, height: int, number: int) -> NDArray[Any]:
    """A picture, H x W x 3, uint8, blue-green-red.

    Args:
        content: bytes of the picture, perhaps with others behind them
        width: pixels
        height: pixels
        number: of the format

    Raises:
        RuntimeError: the format is another one, or bytes are missing.
    """
    depth = 3 if number in (_RGB8, _BGR8) else 2 if number in _DEEP else 1
    wanted = width * height * depth
    if number not in (_RGB8, _BGR8, *_DEEP, *_COLORS):
        raise RuntimeError(
            f"its pixel format 0x{number:08x} cannot be read: write format=, one of {', '.join(FORMATS)}"
        )
    if content.size < wanted:
        raise RuntimeError(f"a picture of {width} x {height} pixels has {content.size} bytes instead of {wanted}")
    plain = content[:wanted]
    if number in _COLORS:
        return np.asarray(cv2.cvtColor(plain.reshape(height, width), _COLORS[number][1]))
    if number in _DEEP:
        gray = (plain.view("<u2").reshape(height, width) >> (_DEEP[number][1] - 8)).astype(np.uint8)
        return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR))
    pixels = plain.reshape(height, width, 3)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)) if number == _RGB8 else pixels.copy()
