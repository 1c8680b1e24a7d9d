"""Anonymization of evidence: people or surroundings are pixelated, each cell with the mean of its pixels.

A soft blur can be reversed; the mean over an eighth of a box cannot. Only detected people are hidden; a person whom the
model missed stays visible. If a person has no box, the whole frame is pixelated. face_guard.py hides faces besides, and
private_boxes.py heads and number plates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2

from ..inference.prediction import Box, Prediction
from .thumbnail import box_slices

PERSON_LABEL = "person"
_BOX_CELLS = 8  # columns and rows of a box
_FRAME_CELLS = 24  # columns and rows of a frame
_BOX_MARGIN = 0.15  # fraction of its size by which a box grows, because boxes are never exact


def anonymize(pixels: Any, predictions: Sequence[Prediction], mode: str) -> Any:
    """The image with `mode` made unrecognizable; the same array if nothing has to be hidden.

    Args:
        pixels: H x W x 3, uint8; not modified
        predictions: all predictions for the frame
        mode: `people`, `surroundings`, or nothing
    """
    if mode == "people":
        people = [each for each in predictions if each.label == PERSON_LABEL]
        if any(each.box is None for each in people):
            return pixelate(pixels, _FRAME_CELLS, _FRAME_CELLS)
        if people:
            pixels = pixels.copy()
        for each in people:
            assert each.box is not None
            pixelate_box(pixels, each.box, _BOX_MARGIN, _BOX_CELLS)
    elif mode == "surroundings":
        sharp, pixels = pixels, pixelate(pixels, _FRAME_CELLS, _FRAME_CELLS)
        for each in predictions:
            if each.box is not None:
                place = box_slices(each.box, sharp.shape)
                pixels[place] = sharp[place]
    return pixels


def pixelate_box(pixels: Any, box: Box, margin: float, cells: int) -> None:
    """Replaces a box, with a margin in fractions of its size, by the means of `cells` columns and rows, in place."""
    place = box_slices(box, pixels.shape, margin)
    pixels[place] = pixelate(pixels[place], cells, cells)


def pixelate(pixels: Any, columns: int, rows: int) -> Any:
    """An image, H x W x 3, uint8, replaced by the means of its cells; no cell is smaller than a pixel."""
    height, width = pixels.shape[:2]
    size = (min(columns, width), min(rows, height))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
