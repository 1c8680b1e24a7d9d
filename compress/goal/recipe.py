"""The recipe of a goal file: the techniques that compress a model, and their settings.

Each `[[recipe]]` table names a technique under `use`; its other keys are the settings of that technique.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from vedette.runtime.errors import ConfigProblem

from .duration import parse_duration

RangeMethod = Literal["minmax", "percentile", "mse", "entropy"]


class QuantizationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the technique."""

    ranges: RangeMethod = "minmax"
    """How the range of an activation is chosen."""
    percentile: Annotated[float, msgspec.Meta(gt=50, le=100)] = 99.99
    """Per cent of the values that stay, for ranges = "percentile"."""
    equalize: bool = msgspec.field(default=False, name="equalise")
    """Channels of one tensor get ranges alike, where nothing else changes by it."""
    bias_correction: bool = False
    """What integers lose on average, per output channel, goes into the biases."""
    rounding: Literal["nearest", "learned"] = "nearest"
    """Of the weights."""
    rounding_steps: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 200
    """Per layer, where rounding is learnt."""
    qat_steps: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    """Of training, at most."""
    qat_learning_rate: Annotated[float, msgspec.Meta(gt=0, le=0.01)] = msgspec.field(default=1e-5, name="qat_rate")
    """Step of Adam at the beginning; it ends at none."""
    float_layers: Annotated[int, msgspec.Meta(ge=0)] = 0
    """So many layers, those that cost the outputs most, stay float. ONNX only: the TFLite writer takes integers."""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Of what is drawn by chance."""


class PruningSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the technique."""

    kept_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = msgspec.field(default=0.5, name="kept")
    """Share of the channels inside each block that stay."""
    rounds: Annotated[int, msgspec.Meta(ge=1, le=20)] = 2
    """In which they go, with distillation in between; the steps of that are divided among them."""


class DistillationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the technique."""

    steps: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 300
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = msgspec.field(default=2e-4, name="rate")
    """Of learning, at the beginning."""


class SearchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the technique; it makes no model, but chooses what is to be made."""

    time: str
    """What it may take in all: `90s`, `30m` or `2h`."""

    def __post_init__(self) -> None:
        parse_duration(self.time)


TECHNIQUES: dict[str, type[msgspec.Struct]] = {
    "quantise": QuantizationSettings,
    "prune": PruningSettings,
    "distil": DistillationSettings,
    "search": SearchSettings,
}
ALIASES = {"quantize": "quantise", "distill": "distil", "equalize": "equalise"}
"""Standard spellings of techniques and keys that goal files may use as well."""


def load_recipe(recipe: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings of each technique that a recipe names, by the technique's name, in the order of the recipe.

    Raises:
        ConfigProblem: a table names no technique, or one that is there already, or a setting is unknown or wrong.
    """
    found: dict[str, Any] = {}
    for table in recipe:
        settings = dict(table)
        name = settings.pop("use", "")
        name = ALIASES.get(name, name) if isinstance(name, str) else name
        if not isinstance(name, str) or name not in TECHNIQUES:
            hint = f"known are {', '.join(sorted(TECHNIQUES))}"
            raise ConfigProblem(f"recipe.use: unknown {name!r}", hint=hint)
        if name in found:
            raise ConfigProblem(f"recipe: {name} is there twice", hint="say all of its settings in one table")
        for alias in ALIASES.keys() & settings.keys():
            if ALIASES[alias] in settings:
                raise ConfigProblem(f"recipe: {name}: {alias} and {ALIASES[alias]} are one setting", hint="keep one")
            settings[ALIASES[alias]] = settings.pop(alias)
        kind = TECHNIQUES[name]
        try:
            found[name] = msgspec.convert(settings, kind)
        except msgspec.ValidationError as error:
            hint = f"keys of {name}: {', '.join(field.encode_name for field in msgspec.structs.fields(kind))}"
            raise ConfigProblem(f"recipe: {name}: {error}", hint=hint) from None
    return found
