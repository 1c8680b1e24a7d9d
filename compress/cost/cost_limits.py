"""Cost of a design on the device, and the limits that the goal sets for it.

A search must know the cost of a design before it builds it, because it builds only designs that may win. The cost is
only predicted then, so a MARGIN of the limit stays free. If the device's core has a cost model, the cost is the number
of instructions in the back end that needs fewer. Otherwise it is the number of multiply-accumulates: an int8 one is
assumed to cost no more than a float one, which held on every core that was counted, so a design within the limit is at
least as fast as the goal asks.
"""

from __future__ import annotations

import msgspec

from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import ONNX

from ..goal.goal_tables import Goal
from ..models.design import Design
from .design_cost import DesignCost, estimate_design_cost

MARGIN = 0.1  # share of the limit
COST_MARGIN = 0.03  # of the cost, at most: its prediction for a design is within 2 % of that for the design's graph
MULTIPLICATIONS = "multiplications"
# Baseline of a speed-up: the float network without any compression, and a head of negligible cost.
REFERENCE_DESIGN = Design("padim", (2, 4, 10), rank=1)


class CostLimits(msgspec.Struct, frozen=True):
    """The most that a design may cost; None for no limit."""

    cost: float | None = msgspec.field(default=None, name="effort")
    """In the unit of `predict_instructions_or_macs`."""
    bytes: float | None = None
    """Size of the int8 file."""


def predict_instructions_or_macs(cost: DesignCost, device: DeviceProfile) -> float:
    """Instructions of the int8 model for one image on one thread, or multiply-accumulates; see `cost_unit`."""
    instructions = cost.predict_instructions(device)
    return float(cost.macs) if instructions is None else instructions


def cost_unit(device: DeviceProfile) -> str:
    """Display name of the unit of `predict_instructions_or_macs`."""
    if not _has_cost_model(device):
        return MULTIPLICATIONS
    return f"instructions on a {device.cpu}, predicted from counts"


def predict_reference_cost(device: DeviceProfile) -> float:
    """Cost of the float reference design in ONNX Runtime, in the unit of `predict_instructions_or_macs`."""
    cost = estimate_design_cost(REFERENCE_DESIGN)
    operators = [msgspec.structs.replace(operator, precision="float32") for operator in cost.operators]
    predicted = device.predict_cost(ONNX, operators)
    if cost.predict_instructions(device) is None or predicted is None or predicted.instructions is None:
        return float(cost.macs)
    return predicted.instructions


def derive_cost_limits(
    goal: Goal, device: DeviceProfile, margin: float = MARGIN, baseline_cost: float | None = None
) -> CostLimits:
    """The cost limits that a goal implies.

    Args:
        goal: the goal file
        device: the target device
        margin: share of each limit that stays free, because costs are predicted; of the cost at most COST_MARGIN
        baseline_cost: cost that a speed-up refers to; None for that of the reference design
    """
    wish, limits = goal.goal, []
    if wish.min_speedup is not None:
        limits.append((predict_reference_cost(device) if baseline_cost is None else baseline_cost) / wish.min_speedup)
    if wish.max_ms is not None and device.speed is not None and _has_cost_model(device):
        limits.append(1e3 * wish.max_ms * device.speed.typical)  # 1 million instructions per second are 1000 per ms
    return CostLimits(
        cost=(1 - min(margin, COST_MARGIN)) * min(limits) if limits else None,
        bytes=None if wish.max_bytes is None else (1 - margin) * wish.max_bytes,
    )


def _has_cost_model(device: DeviceProfile) -> bool:
    return estimate_design_cost(REFERENCE_DESIGN).predict_instructions(device) is not None
