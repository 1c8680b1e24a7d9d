"""Small pictures of good parts in a bundle, and which of them is most like what the model saw.

The workshop chooses them from the images that the model was fitted to (`[data] pictures`,
compress/data/good_pictures.py), as the model sees them: aligned, and cut to the region. Two pictures are compared as
gray pictures of 32 x 32 by their normalized correlation, which neither the light nor the model's quantization changes.
Cells that the model finds unusual are left out, so that the rest of the part decides, and not the defect.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import BundleProblem
from .bundle import Bundle

SIDE = 32
"""Cells of the longer side and the shorter one of a picture that is compared."""
_MOST_UNUSUAL = 0.75  # share of the cells; if more are unusual, all of them count


class GoodPicture(NamedTuple):
    """A picture of a good part."""

    name: str
    """Of the bundle's member."""
    content: bytes
    """JPEG."""
    likeness: float
    """Correlation with what the model saw, -1 to 1."""


class GoodPictures:
    """The pictures of a bundle.

    Raises:
        BundleProblem: one cannot be read.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.names = bundle.manifest.pictures
        self.contents = [bundle.members[name] for name in self.names]
        self.cells = np.empty((len(self.names), SIDE, SIDE), np.float32)
        for number, content in enumerate(self.contents):
            try:
                pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
            except cv2.error:
                pixels = None
            if pixels is None:
                raise BundleProblem(f"{bundle.path}: {self.names[number]} is no picture", hint="build the bundle again")
            self.cells[number] = shrink(pixels[..., ::-1])

    def find_nearest(self, view: NDArray[Any], unusual: NDArray[np.bool_]) -> GoodPicture | None:
        """The picture that is most like what the model saw; None: the bundle has none.

        Args:
            view: what the model saw, H x W x 3, uint8, red-green-blue
            unusual: cells that do not count, h x w
        """
        if not self.names:
            return None
        left_out = cv2.resize(unusual.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 0
        if left_out.mean() > _MOST_UNUSUAL:
            left_out[:] = False
        likeness = correlate(self.cells[:, ~left_out], shrink(view)[~left_out])
        best = int(likeness.argmax())
        return GoodPicture(self.names[best], self.contents[best], round(float(likeness[best]), 3))


def shrink(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """A picture, H x W x 3, uint8, red-green-blue, as gray cells, SIDE x SIDE, float32."""
    gray = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.float32)


def correlate(pictures: NDArray[np.float32], picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """The normalized correlation of each of N pictures, N x cells, with one, cells: N, -1 to 1.

    A picture without any contrast correlates with none.
    """
    those = pictures - pictures.mean(axis=1, keepdims=True)
    this = picture - picture.mean()
    lengths = np.linalg.norm(those, axis=1) * np.linalg.norm(this)
    return np.asarray(those @ this / np.maximum(lengths, 1e-6), np.float32)
