"""The recipe of a goal file: the techniques that compress a model, and their settings.

Each `[[recipe]]` table names a technique with the key `use`. Its other keys are the settings of the technique.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from vedette.runtime.errors import ConfigProblem

from .duration import parse_duration

RangeMethod = Literal["minmax", "percentile", "mse", "entropy"]


class QuantizationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`use = "quantise"`: quantization to int8, and the techniques that reduce its error."""

    ranges: RangeMethod = "minmax"
    """Method that chooses the range of an activation."""
    percentile: Annotated[float, msgspec.Meta(gt=50, le=100)] = 99.99
    """Percentage of the values inside the range, for ranges = "percentile"."""
    equalize: bool = msgspec.field(default=False, name="equalise")
    """Cross-layer equalization: gives the channels of a tensor similar ranges."""
    bias_correction: bool = False
    """Adds the mean quantization error of each output channel to its bias."""
    rounding: Literal["nearest", "learned"] = "nearest"
    """Rounding of the weights: to the nearest integer, or learned by AdaRound."""
    rounding_steps: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 200
    """Training steps per layer, for rounding = "learned"."""
    qat_steps: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    """Maximum number of steps of quantization-aware training; 0: no training."""
    qat_learning_rate: Annotated[float, msgspec.Meta(gt=0, le=0.01)] = msgspec.field(default=1e-5, name="qat_rate")
    """Learning rate of Adam at the first step; it falls to 0."""
    float_layers: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Number of layers that stay float: those that change the outputs most. ONNX only: a TFLite file is all int8."""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Seed of the image order and the augmentation."""


class PruningSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`use = "prune"`: structured pruning of the backbone."""

    kept_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = msgspec.field(default=0.5, name="kept")
    """Share of the channels inside each block that remain."""
    rounds: Annotated[int, msgspec.Meta(ge=1, le=20)] = 2
    """Number of pruning rounds; distillation follows each of them, and its steps are divided among the rounds."""


class DistillationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`use = "distil"`: training of the pruned backbone, with the whole one as teacher."""

    steps: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 300
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = msgspec.field(default=2e-4, name="rate")
    """Learning rate of Adam at the first step; it falls to 0."""


class DetectorTrainingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`use = "train"`: fine-tuning of an imported object detector on the classes of its labels."""

    classes: tuple[str, ...] = ()
    """Names of the classes, in order; objects of other classes are left out. Empty: all classes of the labels."""
    layers: Literal["auto", "classes", "head", "stage"] = "auto"
    """Which layers are trained: those that tell classes, the head (the last five convolutions), or the last stage of
    the backbone and all after it. `auto`: the classes, then the head; what is best on the validation images stays."""
    epochs: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 50
    """Most passes over the images; 0: the class channels are chosen, and nothing is trained."""
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=0.1)] = msgspec.field(default=3e-3, name="rate")
    """Learning rate of AdamW at the first step, for the classes; a tenth of it for the head, and 0.03 of it for the
    stage. It falls to 0."""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Seed of the image order and the augmentation."""


class SearchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`use = "search"`: a search for the best design."""

    time: str
    """Time budget of the search: `90s`, `30m` or `2h`."""

    def __post_init__(self) -> None:
        parse_duration(self.time)


TECHNIQUES: dict[str, type[msgspec.Struct]] = {
    "quantise": QuantizationSettings,
    "prune": PruningSettings,
    "distil": DistillationSettings,
    "search": SearchSettings,
    "train": DetectorTrainingSettings,
}
ALIASES = {"quantize": "quantise", "distill": "distil", "equalize": "equalise"}
"""Alternative spellings of techniques and keys in goal files."""


def load_recipe(recipe: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the settings of each technique that a recipe names, by the technique's name, in the order of the recipe.

    Raises:
        ConfigProblem: a table names no known technique, a technique is named twice, or a setting is unknown or invalid.
    """
    settings_by_technique: dict[str, Any] = {}
    for table in recipe:
        settings = dict(table)
        name = settings.pop("use", "")
        name = ALIASES.get(name, name) if isinstance(name, str) else name
        if not isinstance(name, str) or name not in TECHNIQUES:
            hint = f"known are {', '.join(sorted(TECHNIQUES))}"
            raise ConfigProblem(f"recipe.use: unknown {name!r}", hint=hint)
        if name in settings_by_technique:
            raise ConfigProblem(f"recipe: {name} is there twice", hint="say all of its settings in one table")
        for alias in ALIASES.keys() & settings.keys():
            if ALIASES[alias] in settings:
                raise ConfigProblem(f"recipe: {name}: {alias} and {ALIASES[alias]} are one setting", hint="keep one")
            settings[ALIASES[alias]] = settings.pop(alias)
        settings_type = TECHNIQUES[name]
        try:
            settings_by_technique[name] = msgspec.convert(settings, settings_type)
        except msgspec.ValidationError as error:
            hint = f"keys of {name}: {', '.join(field.encode_name for field in msgspec.structs.fields(settings_type))}"
            raise ConfigProblem(f"recipe: {name}: {error}", hint=hint) from None
    return settings_by_technique
