"""The products of a line: what the line calls them, and who judges them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from ..calibration.drift import DriftMonitor
from ..config.product_table import NO_PRODUCT
from .judgement import Judge

NOT_LOADED = "not_loaded"
"""Reason of an error: the bundle of the product could not be loaded."""


class LineProduct(msgspec.Struct, frozen=True):
    """A product of a camera with `[trigger]`."""

    index: int
    """Its number for the line."""
    name: str
    release: str
    """Of its bundle; empty if that could not be loaded."""
    judge: Judge | None
    """None: its bundle could not be loaded."""
    drift: DriftMonitor | None = None
    """Its scores beside those of the build; None: they cannot be compared."""


class ProductChoice(Protocol):
    """The models of a camera, of which one judges at a time."""

    products: Sequence[LineProduct]

    def select(self, index: int) -> None:
        """From now on the model of this product judges, which is loaded."""


class LineProducts:
    """The products of a line by index."""

    def __init__(self, products: Iterable[LineProduct]) -> None:
        self.by_index = {each.index: each for each in products}

    @property
    def indices(self) -> tuple[int, ...]:
        """All that are known to the line, loaded or not."""
        return tuple(self.by_index)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in the same order."""
        return tuple(each.name for each in self.by_index.values())

    def describe(self, index: int) -> tuple[str, str]:
        """Name and release, as a verdict has them; of an index that no product has, the index and nothing."""
        if (product := self.by_index.get(index)) is not None:
            return product.name, product.release
        return "none" if index == NO_PRODUCT else f"index {index}", ""

    def find_refusal(self, index: int) -> str:
        """Why parts of a known product cannot be judged, as the reason of an error; empty: they can."""
        product = self.by_index.get(index)
        return NOT_LOADED if product is not None and product.judge is None else ""
