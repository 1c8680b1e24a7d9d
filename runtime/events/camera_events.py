"""What `data` holds in the system events about a camera (docs/cameras.md)."""

from __future__ import annotations

from typing import Literal

import msgspec


class CameraFault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The camera shows no usable picture."""

    seconds: float
    """For how long so far."""
    reason: str | msgspec.UnsetType = msgspec.UNSET


class CameraRecovered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fault of the camera is over."""

    seconds: float
    """For how long it lasted."""
    from_: str = msgspec.field(name="from")
    """The fault: the last level of its type."""


class MovedView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The camera was moved by little: its privacy zones follow."""

    right: float
    """By how much the middle of the picture moved, as a share of the picture's longer side."""
    down: float
    angle: float
    """Degrees, clockwise."""
    scale: float
    """Above 1: the picture shows things larger than before."""


class LostView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The view of the privacy zones is lost: no picture is shown."""

    reason: str


class RecoveredView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The privacy zones lie where they should again."""

    seconds: float
    """For how long they did not."""
    from_: Literal["view_moved", "view_lost"] = msgspec.field(name="from")
    """The last level of the type of the event before."""
