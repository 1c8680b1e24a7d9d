"""What a design may cost, from what the goal asks.

The search must know what a design costs on the device before it is built, and builds it only if it may win. So a
MARGIN is kept, for what is only predicted. Multiplications stand for time: an int8 one is taken to cost no more than a
float one, which holds on every core that was counted, so a design within the budget is at least as fast as asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from .design import Design
from .goal import Goal

if TYPE_CHECKING:
    from .selection import Trial

MARGIN = 0.1  # of what is allowed
# What a speed-up is held against: the float network with nothing taken from it, and a head that costs next to nothing.
REFERENCE = Design("padim", (2, 4, 10), rank=1)


class Budget(msgspec.Struct, frozen=True):
    """The most that a design may cost; None: anything."""

    macs: float | None = None
    bytes: float | None = None

    def excess(self, trial: Trial) -> float:
        """The share by which it costs too much, of whatever it exceeds most; 0 or less where it fits."""
        pairs = ((trial.macs, self.macs), (trial.bytes, self.bytes))
        return max((cost / most - 1 for cost, most in pairs if most is not None), default=-1.0)


def of(goal: Goal, margin: float = MARGIN) -> Budget:
    """What `goal` leaves for the design, less a share of it for what is only predicted."""
    wish, share = goal.goal, 1 - margin
    return Budget(
        macs=None if wish.min_speedup is None else share * REFERENCE.cost().macs / wish.min_speedup,
        bytes=None if wish.max_bytes is None else share * wish.max_bytes,
    )
