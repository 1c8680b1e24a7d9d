"""The picture of an event: what its boxes hold and a little around, as few bytes as were asked for at most.

Quality goes first, then size, until it fits. Where an event has no box, it shows the whole picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2

from ..inference.prediction import Box, Prediction

SIDE = 640  # pixels, at most
_QUALITIES = (85, 70, 55, 40)
_SUFFIXES = {"jpeg": ".jpg", "webp": ".webp"}
_FLAGS = {"jpeg": cv2.IMWRITE_JPEG_QUALITY, "webp": cv2.IMWRITE_WEBP_QUALITY}


def suffix(kind: str) -> str:
    """Of a file of the `kind`, `jpeg` or `webp`."""
    return _SUFFIXES[kind]


def thumbnail(pixels: Any, seen: Sequence[Prediction], margin: float, kind: str, most: int) -> bytes:
    """What `seen` shows of the picture, H x W x 3, uint8; at most `most` bytes.

    Args:
        pixels: of the frame
        seen: what the event is about
        margin: around its boxes, as a share of their width and height
        kind: `jpeg` or `webp`
        most: bytes; 2048 are always enough
    """
    cropped = _cropped(pixels, [each.box for each in seen if each.box is not None], margin)
    scale = min(1.0, SIDE / max(cropped.shape[:2]))
    while True:
        height, width = (max(1, round(scale * side)) for side in cropped.shape[:2])
        small = cropped if scale == 1 else cv2.resize(cropped, (width, height), interpolation=cv2.INTER_AREA)
        for quality in _QUALITIES:
            _, written = cv2.imencode(_SUFFIXES[kind], small, [_FLAGS[kind], quality])
            if len(written) <= most:
                return bytes(written)
        scale *= 0.75


def _cropped(pixels: Any, boxes: Sequence[Box], margin: float) -> Any:
    if not boxes:
        return pixels
    height, width = pixels.shape[:2]
    left, right = min(each.left for each in boxes), max(each.right for each in boxes)
    top, bottom = min(each.top for each in boxes), max(each.bottom for each in boxes)
    across, down = margin * (right - left), margin * (bottom - top)
    rows = span(top - down, bottom + down, height)
    return pixels[rows, span(left - across, right + across, width)]


def span(low: float, high: float, size: int) -> slice:
    """Of fractions: pixels from the one to the other, inside the picture, at least one."""
    first = min(max(math.floor(low * size), 0), size - 1)
    return slice(first, max(first + 1, min(math.ceil(high * size), size)))
