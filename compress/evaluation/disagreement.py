"""Test images that float and int8 judge differently: what rounding does to the product's own pictures.

Each model has a line of its own, drawn alike with the same images, for the scores of the two need not mean the same.
First come the images that fall on different sides, then those where the two are farthest apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

SHOWN = 6  # pictures


class Pair(msgspec.Struct, frozen=True):
    """What float and int8 make of one test image."""

    place: int
    """Of the image, among all test images."""
    path: Path
    fp32: str
    """For people."""
    int8: str
    differs: bool
    """The answers do."""
    gap: float
    """Between the two, in a unit that is the same for all images."""


class Disagreement(msgspec.Struct, frozen=True):
    """All of them."""

    images: int
    differing: int
    pairs: tuple[Pair, ...]
    """All that differ and, where these are fewer than SHOWN, what is farthest apart of the others."""
    what: str
    """How answers are compared, for people: the end of a sentence."""

    @property
    def statement(self) -> str:
        """Whether they agree, in words."""
        if self.images == 0:
            return "There are no test images to compare float and int8 on."
        if not self.differing:
            every = f"all {self.images} test images" if self.images > 1 else "the test image"
            return f"On {every} int8 answers as float does, {self.what}. Shown is where they are farthest apart."
        some = f"{self.differing} of {self.images} test images"
        first = "It comes" if self.differing == 1 else "They come"
        more = "" if self.differing <= SHOWN else f" Shown are {SHOWN}, all are in report.json."
        return f"On {some} int8 answers otherwise than float, {self.what}. {first} first, the farthest apart.{more}"

    def pictures(self, image: Callable[[Pair], str]) -> list[dict[str, Any]]:
        """Those that are shown, `image` giving a data URL for each."""
        return [{"pair": pair, "image": image(pair)} for pair in self.pairs[:SHOWN]]

    def facts(self, named: Callable[[Path], str]) -> dict[str, Any]:
        """For programs; `named` says how an image is called."""
        rows = [
            {"image": named(pair.path), "fp32": pair.fp32, "int8": pair.int8, "differs": pair.differs, "gap": pair.gap}
            for pair in self.pairs
        ]
        return {"images": self.images, "differing": self.differing, "pairs": rows}


def between(pairs: Iterable[Pair], what: str) -> Disagreement:
    """The worst of `pairs`, one for each test image."""
    ordered = sorted(pairs, key=lambda pair: (not pair.differs, -pair.gap, pair.place))
    differing = sum(pair.differs for pair in ordered)
    return Disagreement(len(ordered), differing, tuple(ordered[: max(SHOWN, differing)]), what)
