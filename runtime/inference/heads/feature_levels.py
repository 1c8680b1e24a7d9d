"""The outputs of an object detector by feature level: for each cell of a grid, some numbers for each role.

An output is named after its role and its level, such as `box0`; level 0 has the most cells. Few cells of a frame hold
an object. So thresholds are compared as integers, and only the cells that pass are dequantized. The outputs of a float
model are read by the same code, with scale 1 and zero point 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest, ModelOutput

CellIndices = NDArray[np.intp]
"""Indices of cells: row · columns + column."""


class BoxCandidates(NamedTuple):
    """Boxes before non-maximum suppression."""

    edges: NDArray[Any]
    """n x 4: left, top, right, bottom as fractions of the input; they may reach beyond it."""
    scores: NDArray[Any]
    classes: NDArray[Any]

    @staticmethod
    def concatenate(parts: list[BoxCandidates]) -> BoxCandidates:
        """The candidates of all `parts`."""
        return BoxCandidates(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    @staticmethod
    def from_centers(
        centers: NDArray[Any], sizes: NDArray[Any], scores: NDArray[Any], classes: NDArray[Any]
    ) -> BoxCandidates:
        """Boxes from centers and sizes, n x 2 each: x and y as fractions of the input."""
        return BoxCandidates(np.hstack([centers - sizes / 2, centers + sizes / 2]), scores, classes)


class FeatureLevel:
    """The outputs of one feature level.

    Args:
        number: of the level
        outputs: by role, each 1 x channels x rows x columns
    """

    def __init__(self, number: int, outputs: dict[str, ModelOutput]) -> None:
        self.number, self.outputs = number, outputs
        _, _, self.rows, self.columns = next(iter(outputs.values())).shape

    def quantized_output(self, role: str, tensors: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Channels x cells, not dequantized."""
        output = self.outputs[role]
        return tensors[output.name].reshape(output.shape[1], -1)

    def cells_above(self, role: str, tensors: dict[str, NDArray[Any]], threshold: float) -> NDArray[np.bool_]:
        """Channels x cells: True if the dequantized value is at least `threshold`."""
        output, values = self.outputs[role], self.quantized_output(role, tensors)
        step = threshold / output.scale + output.zero_point
        if values.dtype == np.uint8:
            step = int(np.clip(np.ceil(step - 1e-4), 0, 256))
        return np.asarray(values >= step)

    def dequantize(self, role: str, tensors: dict[str, NDArray[Any]], cells: CellIndices) -> NDArray[np.float32]:
        """Cells x channels: the dequantized values of these cells."""
        output = self.outputs[role]
        chosen = self.quantized_output(role, tensors)[:, cells].T.astype(np.float32)
        return np.asarray((chosen - np.float32(output.zero_point)) * np.float32(output.scale))

    def cell_positions(self, cells: CellIndices) -> NDArray[Any]:
        """Column and row of each cell, n x 2."""
        return np.stack([cells % self.columns, cells // self.columns], axis=1).astype(np.float32)

    @property
    def grid_size(self) -> NDArray[Any]:
        """Columns and rows: a position in cells divided by them is a fraction of the input."""
        return np.array([self.columns, self.rows], np.float32)


def group_by_level(manifest: Manifest, roles: tuple[str, ...]) -> list[FeatureLevel]:
    """The levels of the manifest's outputs, each with one output for every role."""
    named = {output.name: output for output in manifest.outputs}
    count = len(named) // len(roles)
    return [FeatureLevel(number, {role: named[f"{role}{number}"] for role in roles}) for number in range(count)]


def sigmoid(values: NDArray[Any]) -> NDArray[Any]:
    """The logistic function, 0…1."""
    return np.asarray(1 / (1 + np.exp(-values)))


def logit(probability: float) -> float:
    """The inverse of the sigmoid; probabilities of 0 and 1 give large finite values."""
    probability = min(max(probability, 1e-9), 1 - 1e-9)
    return float(np.log(probability / (1 - probability)))


def decode_box_distances(values: NDArray[Any]) -> NDArray[Any]:
    """Expected distances from distributions over 0, 1, 2, … strides: n x 4 · bins -> n x 4.

    Li et al., "Generalized Focal Loss", 2020: the mean of the softmax over the bins of each side.
    """
    bins = values.reshape(len(values), 4, values.shape[1] // 4)
    powers = np.exp(bins - bins.max(axis=2, keepdims=True))
    return np.asarray((powers * np.arange(bins.shape[2])).sum(axis=2) / powers.sum(axis=2))
