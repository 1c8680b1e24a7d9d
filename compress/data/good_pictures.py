"""Small pictures of good parts for the bundle (`[data] pictures`), so that the device can show a good part beside a
reject.

They are taken from the images of the part fit, as the model sees them. Those are chosen that together are most like all
others: one after the other, each time the image that raises the sum over all images of the likeness to their nearest
chosen one the most (greedy facility location). Unlike the images that are farthest apart these are not the outliers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.bundle.good_pictures import correlate, shrink
from vedette.runtime.bundle.manifest import Manifest
from vedette.runtime.inference.inspector import Inspector

from .split import model_inputs

FOLDER = "good"
"""Of the members."""
MAX_SIDE = 160
"""Pixels of the longer side of a picture."""
_MAX_CANDIDATES = 500  # images that are compared with each other
_QUALITY = 85


def choose_pictures(
    count: int, images: Sequence[Path], manifest: Manifest, inspector: Inspector | None
) -> dict[str, bytes]:
    """The pictures as JPEG, by member name, at most `count`; without `count` none, and no image is read.

    Args:
        count: `[data] pictures`
        images: of the part fit
        manifest: with the model's input
        inspector: cuts what the model sees out of an image
    """
    if not count:
        return {}
    step = -(-len(images) // _MAX_CANDIDATES)
    candidates = list(images[::step])
    views = (_as_pixels(each[0], manifest) for each in model_inputs(candidates, manifest.input, inspector))
    shrunk = [(shrink(view), _encode(view)) for view in views]
    cells = np.stack([each.ravel() for each, _ in shrunk])
    likeness = np.stack([correlate(cells, each) for each in cells])
    return {f"{FOLDER}/{place:02}.jpg": shrunk[row][1] for place, row in enumerate(cover(likeness, count))}


def cover(likeness: NDArray[np.float32], count: int) -> list[int]:
    """Rows of at most `count` images to which all images are most alike, the most typical one first.

    Args:
        likeness: of each image with each other, N x N
        count: of the images
    """
    chosen: list[int] = []
    nearest = np.full(len(likeness), -1, np.float32)
    while len(chosen) < min(count, len(likeness)):
        gains = np.maximum(likeness - nearest, 0).sum(axis=1)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        nearest = np.maximum(nearest, likeness[chosen[-1]])
    return chosen


def _as_pixels(tensor: NDArray[Any], manifest: Manifest) -> NDArray[np.uint8]:
    """The pixels, H x W x 3, of a quantized input."""
    spec = manifest.input
    values = (tensor.astype(np.float32) - spec.zero_point) * spec.scale * spec.std + spec.mean
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _encode(view: NDArray[np.uint8]) -> bytes:
    height, width = view.shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    small = cv2.resize(view, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return bytes(encoded)
