"""An annotated object of an image, as the readers of label files make it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigProblem
from ..inference.prediction import Box

_TOLERANCE = 0.01  # fraction of the frame by which annotation tools let boxes exceed it


class AnnotatedObject(NamedTuple):
    """An object that a person marked in an image."""

    label: int
    """Index of the model's label."""
    box: Box
    crowd: bool = False
    """True for a group of objects: a detection in it counts neither as right nor as wrong."""


GroundTruth = dict[Path, tuple[AnnotatedObject, ...]]
"""Image -> its annotated objects."""


def make_box(edges: Sequence[float], location: str, hint: str) -> Box:
    """The box with these edges (left, top, right, bottom, in fractions of the frame), clipped to the frame.

    Raises:
        ConfigProblem: it has no area or leaves the frame by more than a hundredth; the message begins with `location`.
    """
    left, top, right, bottom = (float(edge) for edge in edges)
    inside = all(-_TOLERANCE <= edge <= 1 + _TOLERANCE for edge in (left, top, right, bottom))  # false for NaN
    if not inside or left >= right or top >= bottom:
        text = f"from {left:.4g}, {top:.4g} to {right:.4g}, {bottom:.4g}"
        raise ConfigProblem(f"{location}: box outside the image: {text}, in fractions", hint=hint)
    return Box(*(min(max(edge, 0.0), 1.0) for edge in (left, top, right, bottom)))


def unknown_label(location: str, names: Sequence[str]) -> ConfigProblem:
    """The error for a name that is not among the model's labels."""
    some = ", ".join(names[:10]) + (f" and {len(names) - 10} others" if len(names) > 10 else "")
    return ConfigProblem(
        f"{location} is not among the model's labels", hint=f"they are {some}; model.labels names others"
    )
