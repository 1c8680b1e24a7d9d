"""What the report shows of the designs that were tried: worth over cost, those that no other beats, the one chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..cost.cost_limits import Budget
from ..search import selection
from ..search.selection import Trial

LEFT, RIGHT, TOP, BOTTOM = 50.0, 620.0, 20.0, 260.0  # of the plot, in units of its drawing


def evidence(
    trials: list[Trial], finals: Sequence[Trial], chosen: Trial, allowed: Budget, unit: str
) -> dict[str, Any] | None:
    """What fills designs.html; None where there was neither a search nor a choice.

    Args:
        trials: all that were tried
        finals: those that were built, with the AUROC and the bytes of their int8 files
        chosen: one of either
        allowed: what a design may cost
        unit: of its effort, for people
    """
    if len(trials) < 2 and not finals:
        return None
    front = selection.front(trials)
    built = {final.design: final for final in finals}
    shrunk = [final for final in finals if final.design.kept < 1]
    low, high = (math.log10(pick(trial.effort for trial in trials)) for pick in (min, max))
    low, high = low - 0.05, high + 0.05
    worst = math.floor(20 * min(trial.auroc or 0 for trial in trials)) / 20
    best = max(1.0, worst + 0.05)

    def x(effort: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (math.log10(effort) - low) / (high - low), 1)

    def y(auroc: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (auroc - worst) / (best - worst), 1)

    ticks = [m * 10**e for e in range(5, 11) for m in (1, 2, 5) if low <= math.log10(m * 10**e) <= high]
    levels = [worst + (best - worst) * step / 5 for step in range(6)]
    return {
        "handicap": max(selection.HANDICAP.values()),
        "finals": bool(finals),
        "ticks": [{"x": x(effort), "text": f"{effort / 1e6:g}"} for effort in ticks],
        "levels": [{"y": y(level), "text": f"{level:.2f}"} for level in levels],
        "unit": unit,
        "limit": x(allowed.effort) if allowed.effort and low < math.log10(allowed.effort) < high else None,
        "points": [
            {
                "x": x(trial.effort),
                "y": y(trial.auroc or 0),
                "front": trial in front,
                "chosen": trial.design == chosen.design,
                "text": f"{trial.design}: AUROC in trials {trial.auroc:.3f}, {trial.effort / 1e6:.1f} million "
                f"{unit.partition(',')[0]}, {trial.bytes:,} bytes",
            }
            for trial in trials
        ],
        "rows": [
            {
                "text": str(trial.design),
                "auroc": trial.auroc if trial.design.kept == 1 else None,  # with fewer channels it had no trial
                "built": built[trial.design].auroc if trial.design in built else None,
                "effort": trial.effort,
                "bytes": built.get(trial.design, trial).bytes,
                "chosen": trial.design == chosen.design,
            }
            for trial in sorted([*front, *shrunk], key=lambda trial: trial.effort)
        ],
    }
