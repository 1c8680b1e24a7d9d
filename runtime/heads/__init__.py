"""Tensors -> predictions."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from ..manifest import Manifest
from ..parts import choose
from ..prediction import Prediction
from ..problem import BundleProblem

HEADS = {"anomaly": ".anomaly:Anomaly", "behaviour": ".behaviour:behaviour", "classify": ".classify:Classify"}


class Head(Protocol):
    """Reads a model's outputs."""

    def __call__(self, outputs: dict[str, NDArray[Any]]) -> tuple[Prediction, ...]:
        """Each output by name, u8, in the manifest's shape -> what is seen."""


def load(manifest: Manifest) -> Head:
    """The head for the manifest's task.

    Raises:
        Problem: there is none.
    """
    if manifest.task == "embed":
        hint = "vedette verify and vedette show take it; to watch, build a bundle of task anomaly or classify"
        raise BundleProblem(f"{manifest.name} makes vectors, in which no rule sees anything", hint=hint)
    head: Head = choose(__package__, HEADS, manifest.task, "task")(manifest)
    return head
