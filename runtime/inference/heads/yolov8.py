"""YOLOv8 and its like: a score for each class, and how far each side is from the middle of the cell.

As the last layer of that family has been published: four distributions of 16 bins (Li et al., "Generalized Focal
Loss", 2020) around the middle of the cell, in strides, and a sigmoid for each class; there is no objectness. NanoDet-m
has it like that, too, with other bins.

The weights that go by this name are under AGPL-3.0, which binds whoever puts them into a product; Vedette has none and
recommends none. The head is here for networks of this shape whose licence is another: say it as model.licence.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from .feature_levels import Candidates, levels
from .nanodet import distributed


class YoloV8:
    """`box0`, `class0`, …: 64 and K channels."""

    def __init__(self, manifest: Manifest) -> None:
        self.levels = levels(manifest, ("box", "class"))

    def __call__(self, outputs: dict[str, NDArray[Any]], threshold: float) -> Candidates:
        return Candidates.joined([distributed(level, outputs, threshold) for level in self.levels])
