"""How the outputs of an object detector become boxes: what the manifest says of it."""

from __future__ import annotations

from typing import Literal

import msgspec


class GridDecoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A detector that gives numbers for each cell of its grids: a box, class scores, and for some an objectness.

    Scores are sigmoids. With an objectness, a cell has one box, of its likeliest class, and the score is the product;
    without, a cell has a box for each class.
    """

    box: Literal["distances", "distribution", "center"]
    """`distances`: of the left, top, right and bottom side from the cell's point, in cells; `distribution`: the same,
    each as the mean of a softmax over bins 0, 1, 2, … (Li et al., "Generalized Focal Loss", 2020); `center`: of the
    box from the cell's point, in cells, and the logarithms of its width and height in cells."""
    unit: Literal["cells", "pixels"] = "cells"
    """Of `distances`: pixels if the network multiplies them by the stride."""
    point: float = 0.5
    """The point of a cell, as fractions of its sides from its left upper corner."""
    activation: Literal["none", "relu", "exp"] = "none"
    """Of `distances`."""
    objectness: bool = False
    strides: tuple[int, ...] = ()
    """Input pixels per cell of each level, finest first. Empty: the input's size divided by the number of cells."""


class BoxDecoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Decoding of an object detector's outputs into bounding boxes."""

    family: str
    """Detector family, a key of `runtime.inference.heads.BOX_DECODERS`: it selects the box decoder."""
    iou: float
    """Non-maximum suppression: of two boxes of one class with a higher intersection over union, the one with the lower
    score is dropped."""
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()
    """For `ssd`: height and width of the anchor boxes of each level, as fractions of the input."""
    grid: GridDecoding | None = None
    """For `grid`: how a cell's numbers become a box."""
