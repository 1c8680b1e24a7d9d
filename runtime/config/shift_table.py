"""The tables `[[shifts]]` of vedette.toml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

DAY_MINUTES = 24 * 60
_CLOCK = r"^(([01]\d|2[0-3]):[0-5]\d|24:00)\Z"
_ClockTime = Annotated[str, msgspec.Meta(pattern=_CLOCK)]


class ShiftSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of `[[shifts]]` in vedette.toml: a span of the day in the device's time zone."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=32, pattern=r"^[^\x00-\x1f\x7f]+\Z")]
    start: _ClockTime = msgspec.field(name="from")
    """Beginning, as `22:00`."""
    end: _ClockTime = msgspec.field(name="to")
    """End, which does not belong to the shift; earlier than the beginning: on the next day."""

    @property
    def start_minute(self) -> int:
        """Minute of the day at which it begins."""
        return minute_of_day(self.start)

    @property
    def minutes(self) -> int:
        """Its length on a day without a change of the clocks."""
        return (minute_of_day(self.end) - self.start_minute - 1) % DAY_MINUTES + 1


def minute_of_day(clock: str) -> int:
    """The minute of the day of a time like `22:00`."""
    return 60 * int(clock[:2]) + int(clock[3:])


def check_shifts(shifts: Sequence[ShiftSettings]) -> str:
    """What is wrong with the shifts; empty: nothing."""
    names = [each.name for each in shifts]
    if double := sorted({name for name in names if names.count(name) > 1}):
        return f"two shifts are called {double[0]!r}"
    if late := [each.name for each in shifts if each.start == "24:00"]:
        return f'shift {late[0]!r}: 24:00 is an end; write from = "00:00"'
    for number, first in enumerate(shifts):
        for second in shifts[number + 1 :]:
            distance = (second.start_minute - first.start_minute) % DAY_MINUTES
            if distance < first.minutes or DAY_MINUTES - distance < second.minutes or distance == 0:
                return f"the shifts {first.name!r} and {second.name!r} overlap"
    return ""
