"""What a design costs on the device, and what it may cost, from what the goal asks.

The search must know what a design costs before it is built, and builds it only if it may win; so a MARGIN is kept, for
what is only predicted. Where instructions were counted for the device's core they are the cost, in whichever back end
takes fewer. Elsewhere multiplications stand for them: an int8 one is then taken to cost no more than a float one, which
held on every core that was counted, so that what fits is at least as fast as asked.
"""

from __future__ import annotations

import msgspec

from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import ONNX

from ..goal.goal_file import Goal
from ..models.design import Design
from .design_cost import Cost

MARGIN = 0.1  # of what is allowed
MULTIPLICATIONS = "multiplications"
# What a speed-up is held against: the float network with nothing taken from it, and a head that costs next to nothing.
REFERENCE = Design("padim", (2, 4, 10), rank=1)


class Budget(msgspec.Struct, frozen=True):
    """The most that a design may cost; None: anything."""

    effort: float | None = None
    """In the unit of `effort`."""
    bytes: float | None = None


def effort(cost: Cost, device: DeviceProfile) -> float:
    """Instructions of an int8 model for one image, on one thread, or multiplications; `unit` says which."""
    counted = cost.instructions(device)
    return float(cost.macs) if counted is None else counted


def unit(device: DeviceProfile) -> str:
    """What `effort` counts, for people."""
    if REFERENCE.cost().instructions(device) is None:
        return MULTIPLICATIONS
    return f"instructions on a {device.cpu}, predicted from counts"


def reference(device: DeviceProfile) -> float:
    """The effort of the float reference, in ONNX Runtime."""
    cost = REFERENCE.cost()
    works = [msgspec.structs.replace(work, precision="float32") for work in cost.works]
    predicted = device.predict(ONNX, works)
    if cost.instructions(device) is None or predicted is None or predicted.instructions is None:
        return float(cost.macs)
    return predicted.instructions


def of(goal: Goal, device: DeviceProfile, margin: float = MARGIN, whole: float | None = None) -> Budget:
    """What `goal` leaves for the design, less a share of it for what is only predicted.

    Args:
        goal: what is asked
        device: what it is for
        margin: that share
        whole: effort that a speed-up is held against; None: that of the reference
    """
    wish, limits = goal.goal, []
    if wish.min_speedup is not None:
        limits.append((reference(device) if whole is None else whole) / wish.min_speedup)
    if wish.max_ms is not None and device.speed is not None and REFERENCE.cost().instructions(device) is not None:
        limits.append(1e3 * wish.max_ms * device.speed.typical)  # million instructions a second are a thousand a ms
    return Budget(
        effort=(1 - margin) * min(limits) if limits else None,
        bytes=None if wish.max_bytes is None else (1 - margin) * wish.max_bytes,
    )
