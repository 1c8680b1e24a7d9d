"""People and surroundings in evidence made unrecognisable: coarse cells, each the mean of what it covers.

A soft blur can be undone; a mean of a box's eighth cannot. What is hidden is what the model saw: a person whom it
missed stays. Without a box for a person, the whole picture is made coarse. Faces are not looked for by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2

from ..inference.prediction import Prediction
from .thumbnail import span

PERSON = "person"
_CELLS = 8  # across and down a box
_COARSE = 24  # across and down a picture
_AROUND = 0.15  # of a box: it is never exact


def hidden(pixels: Any, seen: Sequence[Prediction], what: str) -> Any:
    """A picture in which `what` cannot be recognised; the same one where nothing is to be hidden.

    Args:
        pixels: H x W x 3, uint8; it is not changed
        seen: all that the model saw in it
        what: `people`, `surroundings`, or nothing
    """
    if what == "people":
        people = [each for each in seen if each.label == PERSON]
        if any(each.box is None for each in people):
            return _coarse(pixels, _COARSE)
        if people:
            pixels = pixels.copy()
        for each in people:
            place = _place(pixels, each, _AROUND)
            pixels[place] = _coarse(pixels[place], _CELLS)
    elif what == "surroundings":
        sharp, pixels = pixels, _coarse(pixels, _COARSE)
        for each in seen:
            if each.box is not None:
                place = _place(sharp, each, 0.0)
                pixels[place] = sharp[place]
    return pixels


def _coarse(pixels: Any, cells: int) -> Any:
    height, width = pixels.shape[:2]
    size = (min(cells, width), min(cells, height))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


def _place(pixels: Any, seen: Prediction, around: float) -> tuple[slice, slice]:
    assert seen.box is not None
    (height, width), box = pixels.shape[:2], seen.box
    across, down = around * (box.right - box.left), around * (box.bottom - box.top)
    rows = span(box.top - down, box.bottom + down, height)
    return rows, span(box.left - across, box.right + across, width)
