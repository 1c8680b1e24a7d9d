"""What the handshake works on: what the line and the device have agreed on, and the parts in flight."""

from __future__ import annotations

from math import inf
from typing import Self

import msgspec

from ..config.trigger_table import TriggerSettings
from ..events.part_verdict import PartDecision, PartKind

SIGNALS = ("trigger_ready", "busy", "results_ready", "ok", "ng", "warn", "error", "heartbeat")
"""The outputs that are on or off, in the order that the adapters have."""
SERIAL_CHARACTERS = 64
"""Most characters of a serial number; what comes after is cut off."""


class HandshakeSettings(msgspec.Struct, frozen=True):
    """What the line and the device have agreed on. Times in seconds."""

    deadline: float = 1.0
    """From a trigger to its verdict."""
    depth: int = 8
    """Parts without a final verdict at which the device is no longer ready."""
    gate: int = 0
    """Parts between the camera and the reject gate."""
    acknowledge: bool = False
    hold: float = 0.05
    """Longest time that a result is shown."""
    gap: float = 0.01
    heartbeat: float = 0.5
    """Seconds between changes of the heartbeat."""
    products: tuple[int, ...] = (0,)
    """Product indices that the device knows."""
    selected: int | None = None
    """The product until the line selects one; None: the first of them."""

    @classmethod
    def from_trigger(cls, trigger: TriggerSettings, products: tuple[int, ...], selected: int | None) -> Self:
        """The settings of a camera's `[trigger]`."""
        return cls(
            deadline=trigger.deadline,
            depth=trigger.depth,
            gate=trigger.gate,
            acknowledge=trigger.acknowledge,
            hold=trigger.hold_seconds,
            gap=min(0.01, trigger.hold_seconds),
            heartbeat=trigger.heartbeat,
            products=products,
            selected=selected,
        )


class Part(msgspec.Struct):
    """A part between its trigger and its result."""

    number: int
    triggered: float
    due: float
    product: int = 0
    serial: str = ""
    verdict: PartDecision | None = None
    reason: str = ""
    expected: PartKind = ""
    """What a reference part is known to be; empty: it is none."""
    finished: float = inf
    """When the verdict became final."""
