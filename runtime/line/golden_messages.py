"""Commands about reference parts, and the answer to them: over MQTT and over the socket of this machine."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..events.golden_parts import Due, GoldenPart, Lock


class GoldenCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command about the reference parts of a camera."""

    action: Literal["begin", "acknowledge", "show"]
    by: str = msgspec.field(default="")
    """Who commands it."""
    camera: str = ""
    """Of a command over MQTT: the camera."""

    def __post_init__(self) -> None:
        if len(self.by) > 64 or not (self.by.isprintable() and self.camera.isprintable()):
            raise ValueError("by: at most 64 printable characters")


class GoldenStatus(msgspec.Struct, frozen=True):
    """The reference parts of the product that the line has selected; also the answer to a command."""

    product: str
    lock: Lock
    """Why every part but a reference is an error; empty: the line may run."""
    due: Due
    """Why the references have to pass; empty: they have."""
    unacknowledged: str
    """Why somebody has to acknowledge; empty: nobody has."""
    awaited: int | None
    """References that are still to come in the check that has begun; null: none has begun."""
    parts: tuple[GoldenPart, ...]
    """Those that were judged in it, or in the last one."""
    outcome: Literal["", "passed", "failed"]
    """Of the last check since the start of the daemon, if none has begun since."""
    parts_left: int | None
    """Parts until the references are overdue; null: no limit."""
    seconds_left: float | None
    """Time until then; null: no limit."""
    error: str = ""
    """Why the command was not obeyed; empty: it was."""
    challenge: str = ""
    """Of an answer over MQTT: what the next signed order must name."""
