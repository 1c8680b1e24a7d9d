"""Prices for kinds that a profile lacks, its others kept: fit.py's --keep.

What was counted of networks that hold such kinds, less what the known kinds cost in them, is what is left for these.
The known prices were fitted to other networks, so their errors land here: pieces are mostly of what is new.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from vedette.devices.cost_model import (
    CostModel,
    InstructionCoefficients,
    OperatorClass,
    OperatorCount,
    Precision,
    PrecisionCosts,
)

AMOUNTS = len(InstructionCoefficients.__struct_fields__)
JOINED = "; and "


class Counted(NamedTuple):
    """A model and what it was counted to take."""

    name: str
    precision: Precision
    works: list[OperatorCount]
    instructions: int


def extended(model: CostModel, models: Sequence[Counted], again: Collection[str] = ()) -> CostModel:
    """`model` with prices for the kinds of `models` that it lacks.

    Args:
        model: what is known, and kept
        models: what was counted
        again: kinds whose prices are fitted anew although they are known
    """
    kept = {name: _without(each, again) for name, each in model.precisions.items()}
    columns = sorted(
        {
            (w.precision, w.operator_class)
            for m in models
            for w in m.works
            if w.operator_class not in kept[w.precision].kinds
        }
    )
    matrix = np.zeros((len(models), AMOUNTS * len(columns)))
    left = np.zeros(len(models))
    base = msgspec.structs.replace(model, precisions=kept)
    for place, each in enumerate(models):
        known = [work for work in each.works if (work.precision, work.operator_class) not in columns]
        left[place] = 1 - base.predict_instructions(known) / each.instructions
        for one in each.works:
            if (one.precision, one.operator_class) in columns:
                start = AMOUNTS * columns.index((one.precision, one.operator_class))
                matrix[place, start : start + AMOUNTS] += kept[one.precision].tile.count_quantities(one)
        matrix[place] /= each.instructions
    scale = matrix.max(axis=0, initial=0)
    scale[scale == 0] = 1
    values = nnls(matrix / scale, left, maxiter=100_000)[0] / scale
    found = dict(kept)
    for number, (precision, kind) in enumerate(columns):
        cost = priced(values[AMOUNTS * number : AMOUNTS * (number + 1)])
        kinds = {**found[precision].kinds, kind: cost}
        added = tuple(sorted({*found[precision].added, kind}))
        found[precision] = msgspec.structs.replace(found[precision], kinds=kinds, added=added)
    number = len({each.name for each in models})
    source = f"{model.source.partition(JOINED)[0]}{JOINED}{number} pieces of detectors for what was added"
    made = msgspec.structs.replace(base, precisions=found, source=source)
    for precision, costs in found.items():
        off = [abs(made.predict_instructions(m.works) / m.instructions - 1) for m in models if m.precision == precision]
        spread = max(costs.spread, round(max(off, default=0.0), 4))
        found[precision] = msgspec.structs.replace(costs, added_spread=spread)
    return msgspec.structs.replace(made, precisions=found)


def priced(values: NDArray[np.float64]) -> InstructionCoefficients:
    """To four figures."""
    return InstructionCoefficients(*(float(f"{value:.4g}") for value in values))


def _without(costs: PrecisionCosts, kinds: Collection[str]) -> PrecisionCosts:
    """As it was before what had been added was added, and without `kinds` and those that are no more."""
    dropped = {*costs.added, *kinds}
    left = {name: cost for name, cost in costs.kinds.items() if name in get_args(OperatorClass) and name not in dropped}
    return msgspec.structs.replace(costs, kinds=left, added=(), added_spread=0.0)
