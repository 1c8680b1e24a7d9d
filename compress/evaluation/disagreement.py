"""Test images on which the float and the int8 model disagree: the effect of rounding on the product's own images.

Each model has a threshold of its own, chosen in the same way on the same images, because their scores may have
different scales. Images with different answers come first, then those with the largest gap between the two models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

MAX_SHOWN = 6  # images in the report


class ImageComparison(msgspec.Struct, frozen=True):
    """Answers of the float and of the int8 model for one test image."""

    index: int
    """Index of the image among all test images."""
    path: Path
    fp32: str
    """Answer of the float model, as text."""
    int8: str
    """Answer of the int8 model, as text."""
    differs: bool
    """Whether the answers differ."""
    gap: float
    """Difference between the two outputs, in one unit for all images."""


class Disagreement(msgspec.Struct, frozen=True):
    """Comparison of the two models on all test images."""

    images: int
    differing: int
    comparisons: tuple[ImageComparison, ...]
    """All images with different answers; if these are fewer than MAX_SHOWN, also those with the largest gaps."""
    criterion: str
    """How the answers are compared: the end of a sentence for the report."""

    @property
    def statement(self) -> str:
        """The agreement in words, for the report."""
        if self.images == 0:
            return "There are no test images to compare float and int8 on."
        if not self.differing:
            images = f"all {self.images} test images" if self.images > 1 else "the test image"
            return f"On {images} int8 gives the same answer as float, {self.criterion}. The largest gaps are shown."
        images = f"{self.differing} of {self.images} test images"
        order = "It comes first." if self.differing == 1 else "They come first, the largest gap at the top."
        more = "" if self.differing <= MAX_SHOWN else f" {MAX_SHOWN} are shown, all are in report.json."
        return f"On {images} int8 gives another answer than float, {self.criterion}. {order}{more}"

    @property
    def shown(self) -> tuple[ImageComparison, ...]:
        """The comparisons that the report shows as images."""
        return self.comparisons[:MAX_SHOWN]

    def report_fields(self, display_name: Callable[[Path], str]) -> dict[str, Any]:
        """Fields of report.json.

        Args:
            display_name: gives the name of an image file
        """
        rows = [
            {
                "image": display_name(comparison.path),
                "fp32": comparison.fp32,
                "int8": comparison.int8,
                "differs": comparison.differs,
                "gap": comparison.gap,
            }
            for comparison in self.comparisons
        ]
        return {"images": self.images, "differing": self.differing, "pairs": rows}


def rank_comparisons(comparisons: Iterable[ImageComparison], criterion: str) -> Disagreement:
    """The disagreement of the two models, the worst images first.

    Args:
        comparisons: one for each test image
        criterion: how the answers are compared: the end of a sentence
    """
    ordered = sorted(comparisons, key=lambda comparison: (not comparison.differs, -comparison.gap, comparison.index))
    differing = sum(comparison.differs for comparison in ordered)
    return Disagreement(len(ordered), differing, tuple(ordered[: max(MAX_SHOWN, differing)]), criterion)
