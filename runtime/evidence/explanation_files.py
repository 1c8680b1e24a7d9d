"""What is stored of the explanation of an event beside its picture: the heat map, and a good part to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ..inference.explanation import Explanation
from ..inference.prediction import Prediction
from .store import GOOD_SUFFIX, HEAT_SUFFIX
from .thumbnail import crop_to_boxes

_FINE_SIDE = 256  # cells of the longer side of a heat map before it is cropped
_MAX_SIDE = 96  # pixels of the longer side of the file
_FAINT, _STRONG = 0.5, 1.5  # multiples of the threshold at which the color begins, and is strongest at the earliest
_MOST_OPAQUE = 190


def encode_explanation(
    explanation: Explanation, boxes: Sequence[Prediction], margin: float, shows_good: bool
) -> dict[str, bytes]:
    """The files of an explanation, by the ending of their names.

    Args:
        explanation: of the frame
        boxes: around which the event's picture was cropped; empty: it shows the whole frame
        margin: around the boxes
        shows_good: whether a picture of a good part may be stored
    """
    files = {HEAT_SUFFIX: _encode_heat(explanation, boxes, margin)}
    if explanation.nearest is not None and shows_good:
        files[GOOD_SUFFIX] = explanation.nearest.content
    return files


def _encode_heat(explanation: Explanation, boxes: Sequence[Prediction], margin: float) -> bytes:
    """The heat map as a PNG to lay over the picture: from transparent to red."""
    share = np.nan_to_num(explanation.heat_map, nan=0.0) / max(explanation.threshold, 1e-9)
    strongest = max(_STRONG, float(share.max()))
    strength = np.clip((share - _FAINT) / (strongest - _FAINT), 0, 1).astype(np.float32)
    strength = crop_to_boxes(_scale(strength, _FINE_SIDE), boxes, margin)
    if max(strength.shape) > _MAX_SIDE:
        strength = _scale(strength, _MAX_SIDE)
    image = np.empty((*strength.shape, 4), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 40, 200 * (1 - strength), 255  # blue, green, red
    image[..., 3] = _MOST_OPAQUE * strength
    return bytes(cv2.imencode(".png", image)[1])


def _scale(values: Any, side: int) -> Any:
    scale = side / max(values.shape)
    size = max(1, round(scale * values.shape[1])), max(1, round(scale * values.shape[0]))
    return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA)
