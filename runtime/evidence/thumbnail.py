"""The thumbnail of an event: its boxes with a margin, within a limit of bytes.

Quality is reduced first, then size, until it fits. An event without a box gets the whole frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2

from ..inference.prediction import Box, Prediction

MAX_SIDE = 640  # pixels
_QUALITIES = (85, 70, 55, 40)
_SUFFIXES = {"jpeg": ".jpg", "webp": ".webp"}
_QUALITY_FLAGS = {"jpeg": cv2.IMWRITE_JPEG_QUALITY, "webp": cv2.IMWRITE_WEBP_QUALITY}


def file_suffix(kind: str) -> str:
    """The suffix of a file of this `kind`, `jpeg` or `webp`."""
    return _SUFFIXES[kind]


def encode_thumbnail(pixels: Any, predictions: Sequence[Prediction], margin: float, kind: str, max_bytes: int) -> bytes:
    """A crop of the frame around the boxes of `predictions`, encoded in at most `max_bytes`.

    Args:
        pixels: of the frame, H x W x 3, uint8
        predictions: those of the event
        margin: around the boxes, as a fraction of their width and height
        kind: `jpeg` or `webp`
        max_bytes: limit; 2048 are always enough
    """
    return encode_picture(crop_to_boxes(pixels, predictions, margin), kind, max_bytes)


def encode_picture(cropped: Any, kind: str, max_bytes: int) -> bytes:
    """A picture, H x W x 3, uint8, encoded as `jpeg` or `webp` in at most `max_bytes`."""
    scale = min(1.0, MAX_SIDE / max(cropped.shape[:2]))
    while True:
        height, width = (max(1, round(scale * side)) for side in cropped.shape[:2])
        small = cropped if scale == 1 else cv2.resize(cropped, (width, height), interpolation=cv2.INTER_AREA)
        for quality in _QUALITIES:
            _, encoded = cv2.imencode(_SUFFIXES[kind], small, [_QUALITY_FLAGS[kind], quality])
            if len(encoded) <= max_bytes:
                return bytes(encoded)
        scale *= 0.75


def crop_to_boxes(pixels: Any, predictions: Sequence[Prediction], margin: float) -> Any:
    """The part of a frame around the boxes of `predictions`, with a margin; all of it without boxes."""
    boxes = [each.box for each in predictions if each.box is not None]
    if not boxes:
        return pixels
    left, right = min(each.left for each in boxes), max(each.right for each in boxes)
    top, bottom = min(each.top for each in boxes), max(each.bottom for each in boxes)
    return pixels[box_slices(Box(left, top, right, bottom), pixels.shape, margin)]


def box_slices(box: Box, size: tuple[int, ...], margin: float = 0.0) -> tuple[slice, slice]:
    """The rows and columns of a box, clipped to the image, at least one of each.

    Args:
        box: the box
        size: height and width of the image in pixels
        margin: by which it grows on each side, as a fraction of its width and height
    """
    x_margin, y_margin = margin * (box.right - box.left), margin * (box.bottom - box.top)
    rows = _pixel_slice(box.top - y_margin, box.bottom + y_margin, size[0])
    return rows, _pixel_slice(box.left - x_margin, box.right + x_margin, size[1])


def _pixel_slice(low: float, high: float, size: int) -> slice:
    first = min(max(math.floor(low * size), 0), size - 1)
    return slice(first, max(first + 1, min(math.ceil(high * size), size)))
