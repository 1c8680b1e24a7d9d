"""Tensors -> predictions."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from ..manifest import Manifest
from ..parts import choose
from ..prediction import Prediction

HEADS = {"anomaly": ".anomaly:Anomaly", "classify": ".classify:Classify"}


class Head(Protocol):
    """Reads a model's outputs."""

    def __call__(self, outputs: dict[str, NDArray[Any]]) -> tuple[Prediction, ...]:
        """Each output by name, u8, in the manifest's shape -> what is seen."""


def load(manifest: Manifest) -> Head:
    head: Head = choose(__package__, HEADS, manifest.task, "task")(manifest)
    return head
