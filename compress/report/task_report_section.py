"""The part of the report that a task contributes: sample images, charts, and where float and int8 disagree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from numpy.typing import NDArray

from vedette.runtime.inference.prediction import Box

from ..evaluation.disagreement import Disagreement, ImageComparison
from .compression_steps import CompressionStep
from .threshold_table import ThresholdRow
from .thumbnails import to_data_url


class ComparedImage(msgspec.Struct, frozen=True):
    """A test image in the section on disagreement."""

    comparison: ImageComparison
    data_url: str


class DisagreementSection(msgspec.Struct, frozen=True):
    """The section on test images where float and int8 disagree."""

    disagreement: Disagreement
    images: list[ComparedImage]
    wide: bool = False
    """Each image shows several panels side by side."""

    @classmethod
    def render(
        cls, disagreement: Disagreement, draw: Callable[[ImageComparison], NDArray[Any]], wide: bool = False
    ) -> DisagreementSection:
        """The section with the images that are shown, each drawn by `draw` as H x W x 3, blue-green-red."""
        shown = [ComparedImage(each, to_data_url(draw(each))) for each in disagreement.shown]
        return cls(disagreement, shown, wide)


class DoubtfulBox(msgspec.Struct, frozen=True):
    """An annotated box, or a missing one, that a person should look at."""

    file: str
    kind: str
    """`swapped`, `missing` or `sloppy`."""
    label: str
    seen: str
    """What the detector sees there."""
    score: float
    box: Box


class TaskReportSection(msgspec.Struct, frozen=True, kw_only=True):
    """What a task contributes to the report."""

    template: str
    """File in `templates/` that extends `report.html`."""
    disagreement: DisagreementSection
    variables: dict[str, Any]
    """Variables of the template."""
    earlier_steps: list[CompressionStep] = []
    """Steps before the float model, for the table of compression steps."""
    thresholds: list[ThresholdRow] = []
    """What other thresholds would do to the test images; empty if the task has no such table."""
    doubtful_boxes: list[DoubtfulBox] = []
    """Labels to look at, for `report.json`."""
