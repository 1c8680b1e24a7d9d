"""Designs of anomaly models and their search space. A design is a point of the search space.

anomaly_model  PaDiM or PatchCore; the student, the discriminative model and the golden sample only if the goal names
               them
input          size of the input in pixels; a quarter of each side needs a sixteenth of the multiplications
blocks         blocks of the backbone that provide features; the backbone is truncated after the last
rank           for PaDiM and the student: number of feature directions; the model uses those in which good parts vary
               least
kept_share     fraction of the channels to keep inside each block of the backbone. A value below 1 needs pruning and
               distillation, which take a minute, so a search tries it only with its finalists

PaDiM is a candidate only with MIN_PADIM_IMAGES images or more. Few images do not determine the variance at each
location, and trials are then unreliable: on 15 good cookies, another random draw of the synthetic defects changes an
AUROC by 0.06.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..goal.goal_tables import ModelTable
from .anomaly import AnomalyModel, count_feature_channels, load_anomaly_model
from .efficientnet_lite import Backbone
from .image_size import ImageSize, describe, fit_aspect_ratio, simplify

DEFAULT_INPUT = 224  # pixels, without a search; the input size of the backbone's training
# Blocks of the trials without a search, and of the first trials of a search.
DEFAULT_BLOCKS: dict[str, tuple[tuple[int, ...], ...]] = {
    "padim": ((4, 10), (4, 10, 14)),
    "student": ((2, 4, 10),),
    "discriminative": ((4, 10),),
    "patchcore": ((4, 10),),
    "golden": ((2, 4),),
}
AUTO_MODELS = ("padim", "patchcore")
"""Among which `auto` chooses. The discriminative model separates synthetic defects better than it does real ones, so
trials cannot judge it: on nine sets it is at best 0.006 ahead of the others, and up to 0.095 behind (docs/accuracy.md).
"""
MIN_PADIM_IMAGES = 40
_MODELS_WITH_RANK = ("padim", "student")
INPUT_SIZES = (224, 192, 160, 128, 96, 64)
BLOCK_CHOICES = ((2,), (4,), (5,), (2, 4), (4, 7), (2, 4, 7), (4, 8), (4, 10), (2, 4, 10), (4, 10, 14))
COMMON_BLOCKS = ((4, 10), (4, 8), (4,))
RANK_CHOICES = (None, 96, 64, 32, 16)


class Design(msgspec.Struct, frozen=True):
    """A point of the search space. Its fields correspond to keys of the table `[model]` of a goal file."""

    anomaly_model: str = msgspec.field(name="detector")
    blocks: tuple[int, ...]
    input: ImageSize = DEFAULT_INPUT
    rank: int | None = None
    """Number of feature directions; None: all."""
    kept_share: float = msgspec.field(default=1.0, name="kept")

    def __str__(self) -> str:
        words = [f"{self.anomaly_model} over blocks {', '.join(map(str, self.blocks))}"]
        words += [f"rank {self.rank}"] if self.rank else []
        words += [f"{self.kept_share:.0%} of the channels"] if self.kept_share < 1 else []
        return f"{', '.join(words)} at {describe(self.input)} pixels"

    def create_model(self, backbone: Backbone) -> AnomalyModel:
        """Creates an unfitted anomaly model on `backbone`.

        Raises:
            ConfigProblem: no anomaly model has this name.
        """
        return load_anomaly_model(self.anomaly_model, backbone, self.input, self.rank)


def anomaly_model_choices(model: ModelTable, images: int) -> tuple[str, ...]:
    """Returns the names of the candidate anomaly models for this number of good images."""
    if model.detector != "auto":
        return (model.detector,)
    return tuple(name for name in AUTO_MODELS if name != "padim" or images >= MIN_PADIM_IMAGES)


def default_designs(model: ModelTable, images: int) -> list[Design]:
    """Returns the designs that a build tries without a search: set keys of `model`, and defaults for the rest.

    Its `input` is a size: `choose_input` has decided what `auto` is.
    """
    given = (tuple(sorted(model.blocks)),) if model.blocks is not None else None
    pairs = [
        (name, blocks)
        for name in anomaly_model_choices(model, images)
        for blocks in given or DEFAULT_BLOCKS.get(name, ((10,),))
    ]
    size = choose_input(model)
    return [Design(name, blocks, size, model.rank if name in _MODELS_WITH_RANK else None) for name, blocks in pairs]


def check_named_model(model: ModelTable) -> None:
    """Creates what a goal names, before any work on images.

    Raises:
        ConfigProblem: no anomaly model has this name, or it cannot have these blocks.
    """
    if model.detector != "auto":
        for design in default_designs(model, MIN_PADIM_IMAGES):
            design.create_model(Backbone(design.blocks))


def choose_input(model: ModelTable, ratio: float = 1.0) -> ImageSize:
    """The size of the input that a goal asks for, or the largest one that a search tries.

    Args:
        model: the table `[model]` of the goal
        ratio: aspect ratio of what the model sees, width divided by height; only `auto` needs it
    """
    if model.input == "auto":
        return fit_aspect_ratio(DEFAULT_INPUT, ratio)
    if isinstance(model.input, tuple):
        height, width = model.input
        return simplify(height, width)
    return model.input or DEFAULT_INPUT


class SearchSpace(msgspec.Struct, frozen=True):
    """The choices for each field of a design."""

    anomaly_models: tuple[str, ...] = msgspec.field(name="detectors")
    blocks: tuple[tuple[int, ...], ...]
    input_sizes: tuple[ImageSize, ...] = msgspec.field(name="inputs")
    ranks: tuple[int | None, ...]

    @classmethod
    def for_goal(cls, model: ModelTable, images: int, ratio: float = 1.0) -> SearchSpace:
        """Returns the search space of a goal: all choices that `model` leaves open.

        Args:
            model: the table `[model]` of the goal
            images: number of good images
            ratio: as in `choose_input`
        """
        sizes: tuple[ImageSize, ...] = INPUT_SIZES if model.input is None else (choose_input(model),)
        if model.input == "auto":
            sizes = tuple(dict.fromkeys(fit_aspect_ratio(side, ratio) for side in INPUT_SIZES))
        blocks = [each for each in BLOCK_CHOICES if model.detector != "student" or len(each) > 1]
        return cls(
            anomaly_models=anomaly_model_choices(model, images),
            blocks=tuple(blocks) if model.blocks is None else (tuple(sorted(model.blocks)),),
            input_sizes=sizes,
            ranks=RANK_CHOICES if model.rank is None else (model.rank,),
        )

    def make_design(self, anomaly_model: str, blocks: Sequence[int], size: ImageSize, rank: int | None) -> Design:
        """Returns the design with these values. A rank without effect becomes None."""
        compared = blocks[1:] if anomaly_model == "student" else blocks
        has_rank = anomaly_model in _MODELS_WITH_RANK and len(compared) > 0
        if rank is None or not has_rank or rank >= count_feature_channels(compared):
            rank = None
        return Design(anomaly_model, tuple(blocks), size, rank)

    def initial_designs(self) -> list[Design]:
        """Returns the first designs of a search: the defaults, and common and cheaper blocks at each input size."""
        common = [blocks for blocks in COMMON_BLOCKS if blocks in self.blocks] or self.blocks[:1]
        pairs = [
            (size, "padim", blocks) for size in self.input_sizes for blocks in common if "padim" in self.anomaly_models
        ]
        pairs += [
            (self.input_sizes[0], name, blocks)
            for name in self.anomaly_models
            for blocks in [each for each in DEFAULT_BLOCKS.get(name, ()) if each in self.blocks] or self.blocks[:1]
        ]
        return list(dict.fromkeys(self.make_design(name, blocks, size, self.ranks[0]) for size, name, blocks in pairs))
