"""What may be varied about a detector: a point of the space that is searched, and that space.

detector   which way of telling good from not
input      pixels of the side: a quarter of the side is a sixteenth of the multiplications
blocks     of the backbone, whose features are looked at; what lies behind the last is left out
rank       of PaDiM: how many directions count, those in which good parts vary least
kept       share of the channels inside each block of the backbone: pruned and distilled, which takes a minute, so that
           only the leaders of a search are tried with less than all

How a place of the picture varies cannot be told from few pictures, nor can trials tell much then: on 15 good cookies
another draw of the spoilt copies moved an AUROC by 0.06. So below FEW images PaDiM does not stand for choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..cost import design_cost as cost
from ..goal.goal_file import Model
from . import anomaly as detectors
from .efficientnet_lite import Backbone

INPUT = 224  # pixels, where nothing is searched: what the backbone was trained for
# What is tried where nothing is searched, and what the search begins with.
CUSTOMARY: dict[str, tuple[tuple[int, ...], ...]] = {
    "padim": ((4, 10), (4, 10, 14)),
    "discriminative": ((4, 10),),
    "patchcore": ((4, 10),),
}
FEW = 40
INPUTS = (224, 192, 160, 128, 96, 64)
BLOCKS = ((2,), (4,), (5,), (2, 4), (4, 7), (2, 4, 7), (4, 10), (2, 4, 10), (4, 10, 14))
USUAL = ((4, 10), (4, 7), (4,))
RANKS = (None, 96, 64, 32, 16)


class Design(msgspec.Struct, frozen=True):
    """One point; it fits in a goal file's `[model]`."""

    detector: str
    blocks: tuple[int, ...]
    input: int = INPUT
    rank: int | None = None
    """None: all directions."""
    kept: float = 1.0

    def __str__(self) -> str:
        parts = [f"{self.detector} over blocks {', '.join(map(str, self.blocks))}"]
        parts += [f"rank {self.rank}"] if self.rank else []
        parts += [f"{self.kept:.0%} of the channels"] if self.kept < 1 else []
        return f"{', '.join(parts)} at {self.input} pixels"

    def load(self, network: Backbone) -> detectors.Detector:
        """The detector over `network`, not fitted yet.

        Raises:
            ConfigProblem: there is none of that name, or it has no rank.
        """
        return detectors.load(self.detector, network, self.input, self.rank)

    def cost(self) -> cost.Cost:
        """Of one image; nothing need be fitted for it."""
        return cost.of(self.load(Backbone(self.blocks, self.kept)), self.input)


def names(model: Model, images: int) -> tuple[str, ...]:
    """The detectors that stand for choice with so many good images."""
    if model.detector != "auto":
        return (model.detector,)
    return tuple(name for name in CUSTOMARY if name != "padim" or images >= FEW)


def customary(model: Model, images: int) -> list[Design]:
    """What is tried without a search: as `model` has it, and the custom where it leaves something open."""
    given = (tuple(sorted(model.blocks)),) if model.blocks is not None else None
    pairs = [(name, blocks) for name in names(model, images) for blocks in given or CUSTOMARY.get(name, ((10,),))]
    return [
        Design(name, blocks, model.input or INPUT, model.rank if name == "padim" else None) for name, blocks in pairs
    ]


class Space(msgspec.Struct, frozen=True):
    """What each part of a design may be."""

    detectors: tuple[str, ...]
    blocks: tuple[tuple[int, ...], ...]
    inputs: tuple[int, ...]
    ranks: tuple[int | None, ...]

    @classmethod
    def of(cls, model: Model, images: int) -> Space:
        """All that `model` leaves open, for so many good images."""
        return cls(
            detectors=names(model, images),
            blocks=BLOCKS if model.blocks is None else (tuple(sorted(model.blocks)),),
            inputs=INPUTS if model.input is None else (model.input,),
            ranks=RANKS if model.rank is None else (model.rank,),
        )

    def design(self, detector: str, blocks: Sequence[int], size: int, rank: int | None) -> Design:
        """The design of these values; a rank that says nothing is none."""
        if detector != "padim" or rank is None or rank >= detectors.width(blocks):
            rank = None
        return Design(detector, tuple(blocks), size, rank)

    def beginnings(self) -> list[Design]:
        """What the search looks at first: the custom designs, and of each size the usual blocks and cheaper ones."""
        usual = [blocks for blocks in USUAL if blocks in self.blocks] or self.blocks[:1]
        pairs = [(size, "padim", blocks) for size in self.inputs for blocks in usual if "padim" in self.detectors]
        pairs += [
            (self.inputs[0], name, blocks)
            for name in self.detectors
            for blocks in [each for each in CUSTOMARY.get(name, ()) if each in self.blocks] or self.blocks[:1]
        ]
        return list(dict.fromkeys(self.design(name, blocks, size, self.ranks[0]) for size, name, blocks in pairs))
