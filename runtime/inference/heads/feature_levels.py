"""What a detector's network gives, level by level: for each cell of a grid some numbers for each role.

An output is called after its role and its level, as in `box0`; level 0 has the most cells. Hardly a cell of a frame
holds anything, so integers are compared as integers, and only the numbers of the few cells that pass become real.
Outputs of a float model are read by the same code, with a scale of one and no zero point.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest, Output

Cells = NDArray[np.intp]
"""Numbers of cells: row · columns + column."""


class Candidates(NamedTuple):
    """Boxes before overlapping ones are dropped."""

    edges: NDArray[Any]
    """n x 4: left, top, right, bottom as fractions of the input; they may reach beyond it."""
    scores: NDArray[Any]
    classes: NDArray[Any]

    @staticmethod
    def joined(parts: list[Candidates]) -> Candidates:
        """All of them."""
        return Candidates(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    @staticmethod
    def around(centres: NDArray[Any], sizes: NDArray[Any], scores: NDArray[Any], classes: NDArray[Any]) -> Candidates:
        """Boxes from centres and sizes, n x 2 each: x and y as fractions of the input."""
        return Candidates(np.hstack([centres - sizes / 2, centres + sizes / 2]), scores, classes)


class Level:
    """The outputs of one grid.

    Args:
        number: of the level
        outputs: by role, each 1 x channels x rows x columns
    """

    def __init__(self, number: int, outputs: dict[str, Output]) -> None:
        self.number, self.outputs = number, outputs
        _, _, self.rows, self.columns = next(iter(outputs.values())).shape

    def integers(self, role: str, made: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Channels x cells, as they come."""
        output = self.outputs[role]
        return made[output.name].reshape(output.shape[1], -1)

    def above(self, role: str, made: dict[str, NDArray[Any]], least: float) -> NDArray[np.bool_]:
        """Channels x cells: where the real value is at least `least`."""
        output, values = self.outputs[role], self.integers(role, made)
        step = least / output.scale + output.zero_point
        if values.dtype == np.uint8:
            step = int(np.clip(np.ceil(step - 1e-4), 0, 256))
        return np.asarray(values >= step)

    def real(self, role: str, made: dict[str, NDArray[Any]], cells: Cells) -> NDArray[np.float32]:
        """Cells x channels."""
        output = self.outputs[role]
        chosen = self.integers(role, made)[:, cells].T.astype(np.float32)
        return np.asarray((chosen - np.float32(output.zero_point)) * np.float32(output.scale))

    def corners(self, cells: Cells) -> NDArray[Any]:
        """Column and row of each cell, n x 2."""
        return np.stack([cells % self.columns, cells // self.columns], axis=1).astype(np.float32)

    @property
    def grid(self) -> NDArray[Any]:
        """Columns and rows: a position in cells divided by them is a fraction of the input."""
        return np.array([self.columns, self.rows], np.float32)


def levels(manifest: Manifest, roles: tuple[str, ...]) -> list[Level]:
    """The levels of the manifest's outputs, each with an output for every role."""
    named = {output.name: output for output in manifest.outputs}
    count = len(named) // len(roles)
    return [Level(number, {role: named[f"{role}{number}"] for role in roles}) for number in range(count)]


def sigmoid(values: NDArray[Any]) -> NDArray[Any]:
    """0…1."""
    return np.asarray(1 / (1 + np.exp(-values)))


def logit(share: float) -> float:
    """The inverse; the ends are far away and not infinite."""
    share = min(max(share, 1e-9), 1 - 1e-9)
    return float(np.log(share / (1 - share)))


def expected(values: NDArray[Any]) -> NDArray[Any]:
    """Distances from distributions over 0, 1, 2, … steps: n x 4 · bins -> n x 4.

    Li et al., "Generalized Focal Loss", 2020: the softmax of each side's bins, and its mean.
    """
    bins = values.reshape(len(values), 4, values.shape[1] // 4)
    powers = np.exp(bins - bins.max(axis=2, keepdims=True))
    return np.asarray((powers * np.arange(bins.shape[2])).sum(axis=2) / powers.sum(axis=2))
