"""The chart of the designs that a search tried: AUROC over cost, the Pareto front, and the chosen design."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..cost.cost_limits import CostLimits
from ..search import selection
from ..search.selection import Trial

LEFT, RIGHT, TOP, BOTTOM = 50.0, 620.0, 20.0, 260.0  # edges of the plot in the SVG


def design_chart(
    trials: list[Trial], finalists: Sequence[Trial], chosen: Trial, limits: CostLimits, unit: str
) -> dict[str, Any] | None:
    """Variables of designs.html; None if only one design was considered.

    Args:
        trials: all trials
        finalists: the designs that were built, with the AUROC and the size of their int8 files
        chosen: the chosen design
        limits: what a design may cost
        unit: display name of the unit of cost
    """
    if len(trials) < 2 and not finalists:
        return None
    front = selection.pareto_front(trials)
    built = {finalist.design: finalist for finalist in finalists}
    pruned = [finalist for finalist in finalists if finalist.design.kept_share < 1]
    cheapest, dearest = (pick(trial.cost for trial in trials) for pick in (min, max))
    low, high = math.log10(cheapest) - 0.05, math.log10(dearest) + 0.05
    worst = math.floor(20 * min(trial.auroc or 0 for trial in trials)) / 20
    best = max(1.0, worst + 0.05)

    def x(cost: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (math.log10(cost) - low) / (high - low), 1)

    def y(auroc: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (auroc - worst) / (best - worst), 1)

    ticks = [m * 10**e for e in range(5, 11) for m in (1, 2, 5) if low <= math.log10(m * 10**e) <= high]
    if len(ticks) < 2:  # designs of similar cost: an axis without numbers would say nothing
        ticks = sorted({cheapest, dearest})
    levels = [worst + (best - worst) * step / 5 for step in range(6)]
    return {
        "has_finalists": bool(finalists),
        "left_out": [f"{each.design}: {each.left_out}" for each in finalists if each.left_out],
        "chosen": {"text": str(chosen.design), "cost": chosen.cost},
        "ticks": [{"x": x(cost), "text": f"{round(cost / 1e6, 1):g}"} for cost in ticks],
        "levels": [{"y": y(level), "text": f"{level:.2f}"} for level in levels],
        "unit": unit,
        "limit": x(limits.cost) if limits.cost and low < math.log10(limits.cost) < high else None,
        "points": [
            {
                "x": x(trial.cost),
                "y": y(trial.auroc or 0),
                "front": trial in front,
                "chosen": trial.design == chosen.design,
                "text": f"{trial.design}: AUROC in trials {trial.auroc:.3f}, {trial.cost / 1e6:.1f} million "
                f"{unit.partition(',')[0]}, {trial.bytes:,} bytes",
            }
            for trial in trials
        ],
        "rows": [
            {
                "text": str(trial.design),
                "auroc": trial.auroc if trial.design.kept_share == 1 else None,  # pruned designs have no trial
                "built": built[trial.design].auroc if trial.design in built else None,
                "cost": trial.cost,
                "bytes": built.get(trial.design, trial).bytes,
                "chosen": trial.design == chosen.design,
            }
            for trial in sorted([*front, *pruned], key=lambda trial: trial.cost)
        ],
    }
