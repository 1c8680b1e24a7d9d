"""How a model shrinks. A technique is the dataclass of its settings, and a call makes a new model from an old one.

A goal file's `[[recipe]]` tables name techniques and their settings: `use` says which, the other keys are its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from vedette.runtime.errors import ConfigProblem
from vedette.runtime.plugins import choose

TECHNIQUES = {
    "quantise": "..quantization.quantize:Quantise",
    "prune": "..training.pruning:Prune",
    "distil": "..training.distillation:Distil",
    "search": ".search_settings:Search",
}


def load(recipe: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The techniques that the tables of a recipe describe, by name, in their order.

    Raises:
        ConfigProblem: a table names no technique, or one that is there already, or a setting is unknown or wrong.
    """
    found: dict[str, Any] = {}
    for table in recipe:
        settings = dict(table)
        name = settings.pop("use", "")
        part = choose(__package__, TECHNIQUES, name, "recipe.use")
        if name in found:
            raise ConfigProblem(f"recipe: {name} is there twice", hint="say all of its settings in one table")
        try:
            found[name] = msgspec.convert(settings, part)
        except msgspec.ValidationError as error:
            hint = f"keys of {name}: {', '.join(field.name for field in msgspec.structs.fields(part))}"
            raise ConfigProblem(f"recipe: {name}: {error}", hint=hint) from None
    return found
