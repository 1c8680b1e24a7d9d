"""Why an event is open now: what a rule measured, beside its limit."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..events.event import Event, EventReason, Quantity


class OpenEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event that is open, with its reason."""

    rule: str
    """Name of the rule."""
    event: str
    """`event` of its messages."""
    since: float
    """When the event began: seconds since 1970, UTC."""
    quantity: Quantity
    """What the rule compares with its limit."""
    measured: float
    """The value in the last frame in which the condition held."""
    limit: float
    """The event opened because the measured value was at least this."""
    label: str = ""
    """Of the object or the anomaly."""
    zones: tuple[str, ...] = ()
    """Zones that the object is in; empty: the rule has none."""
    track: int | None = None
    """Track number of the object, if it has one."""
    unit: str = ""
    """Unit of both values; empty for scores and numbers of objects."""

    @property
    def why(self) -> str:
        """The reason in words, for example `person in yard: 12.3 s; the limit is 10 s`."""
        subject = " in ".join([self.label or "objects", *([" and ".join(self.zones)] if self.zones else [])])
        name = "score " if self.quantity == "score" else ""
        unit = " objects" if self.quantity == "objects" else f" {self.unit}" if self.unit else ""
        return f"{subject}: {name}{self.measured:.4g}{unit}; the limit is {self.limit:.4g}{unit}"


def add_reasons(events: Iterable[Event], opened: Iterable[OpenEvent]) -> list[Event]:
    """The events of a rule, those that are open with their reason."""
    reasons = {each.event: EventReason(each.quantity, each.measured, each.limit, each.unit) for each in opened}
    return [msgspec.structs.replace(event, reason=reasons.get(event.event)) for event in events]
