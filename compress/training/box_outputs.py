"""The outputs of an object detector as torch tensors of boxes and logits, with gradients.

The formulas are those of the decoders that run on the device (runtime/inference/heads), for all cells at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from vedette.runtime.bundle.box_decoding import BoxDecoding, GridDecoding
from vedette.runtime.bundle.manifest import ModelInput
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.inference.heads.grid import PRESETS

_MAX_LOG_SIZE = 8.0  # as in the decoders
FASTESTDET = "fastestdet"
TRAINABLE_FAMILIES = (*PRESETS, FASTESTDET, "grid")
"""Values of `BoxDecoding.family` whose outputs can be read here."""


class BoxOutputs(NamedTuple):
    """What a detector says of N images, for all P cells of all levels."""

    edges: Tensor
    """N x P x 4: left, top, right, bottom, as fractions of the input."""
    classes: Tensor
    """N x P x K logits."""
    objectness: Tensor | None
    """N x P logits; None: the detector has none."""
    points: Tensor
    """P x 2: x and y of the middle of each cell, as fractions of the input."""
    softmax: bool
    """Whether class probabilities are a softmax of the logits, not a sigmoid of each."""

    @property
    def scores(self) -> Tensor:
        """N x P x K probabilities; with an objectness, multiplied by it."""
        classes = self.classes.softmax(dim=2) if self.softmax else self.classes.sigmoid()
        return classes if self.objectness is None else classes * self.objectness.sigmoid()[..., None]


class BoxReader:
    """Reads the outputs of one detector.

    Args:
        boxes: how its numbers become boxes
        spec: its input

    Raises:
        ConfigProblem: the family has anchors, which cannot be read here
    """

    def __init__(self, boxes: BoxDecoding, spec: ModelInput) -> None:
        if boxes.family not in TRAINABLE_FAMILIES:
            hint = "use a detector without anchors, such as yolox or nanodet"
            raise ConfigProblem(f"a detector of the family {boxes.family} cannot be trained on new classes", hint=hint)
        self.family = boxes.family
        self.grid = boxes.grid or PRESETS.get(boxes.family) or GridDecoding("center", objectness=True)
        self.size = torch.tensor([spec.width, spec.height], dtype=torch.float32)

    def __call__(self, outputs: Mapping[str, Tensor]) -> BoxOutputs:
        """Boxes and logits from outputs by name, each N x channels x rows x columns."""
        levels = [name.removeprefix("box") for name in outputs if name.startswith("box")]
        edges, points = zip(*(self._read_edges(outputs[f"box{level}"], int(level)) for level in levels), strict=True)
        objectness = None
        if self.grid.objectness:
            objectness = torch.cat([_flatten(outputs[f"objectness{level}"])[..., 0] for level in levels], dim=1)
        classes = torch.cat([_flatten(outputs[f"class{level}"]) for level in levels], dim=1)
        softmax = self.family == FASTESTDET
        return BoxOutputs(torch.cat(edges, dim=1), classes, objectness, torch.cat(points), softmax)

    def _read_edges(self, output: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Edges, N x P x 4, and middles of the cells, P x 2, of one level."""
        rows, columns = output.shape[2:]
        cells = torch.tensor([columns, rows], dtype=torch.float32)
        if self.grid.strides:
            cells = self.size / self.grid.strides[level]
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        corners = torch.stack([x, y], dim=2).reshape(-1, 2).float()
        values, middles = _flatten(output), (corners + 0.5) / cells
        if self.family == FASTESTDET:
            centers, sizes = (values[..., :2].tanh() + corners) / cells, values[..., 2:].sigmoid()
            return torch.cat([centers - sizes / 2, centers + sizes / 2], dim=2), middles
        points = corners + self.grid.point
        if self.grid.box == "center":
            centers, sizes = values[..., :2] + points, values[..., 2:].clamp(max=_MAX_LOG_SIZE).exp()
            near, far = sizes / 2, sizes / 2
        else:
            centers, distances = points, self._read_distances(values)
            if self.grid.unit == "pixels":
                distances = distances / (self.size / cells).repeat(2)
            near, far = distances[..., :2], distances[..., 2:]
        return torch.cat([centers - near, centers + far], dim=2) / cells.repeat(2), middles

    def _read_distances(self, values: Tensor) -> Tensor:
        if self.grid.box == "distribution":
            bins = values.reshape(*values.shape[:2], 4, -1).softmax(dim=3)
            return (bins * torch.arange(bins.shape[3])).sum(dim=3)
        if self.grid.activation == "exp":
            return values.clamp(max=_MAX_LOG_SIZE).exp()
        return values.clamp(min=0) if self.grid.activation == "relu" else values


def _flatten(output: Tensor) -> Tensor:
    """N x channels x rows x columns to N x cells x channels."""
    return output.flatten(2).transpose(1, 2)
