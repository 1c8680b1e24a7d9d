"""Which shift a moment belongs to, in the time zone of the device.

A shift belongs to the day on which it begins: Friday's night shift ends on Saturday. Its boundaries are moments of the
wall clock: where the clocks change, a night shift lasts an hour more or less. A boundary in the hour that is skipped
lies where the clock would have shown it, one in the hour that is repeated at its first passing. So each moment belongs
to one shift at most, and no moment to two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo

import msgspec

from ..config.configuration import Config
from ..config.shift_table import DAY_MINUTES, ShiftSettings
from ..config.time_zone import load_timezone

WHOLE_DAY = ShiftSettings("day", "00:00", "24:00")
"""The shift of a device that configures none."""
NO_SHIFT = ""
"""Name of the time between the shifts."""


class Shift(msgspec.Struct, frozen=True):
    """A shift of a certain day."""

    day: str
    """The day on which it begins, as `2026-11-29`."""
    name: str
    """Empty: the time of that day between the shifts."""
    begins: float
    """Seconds since 1970, UTC. Between the shifts: those of the whole day."""
    ends: float


class ShiftCalendar:
    """The shifts of a device.

    Args:
        shifts: that do not overlap; none: the whole day is one shift
        zone: the time zone; None: the machine's
    """

    def __init__(self, shifts: Sequence[ShiftSettings], zone: tzinfo | None) -> None:
        self.shifts, self.zone = tuple(shifts) or (WHOLE_DAY,), zone

    @classmethod
    def from_config(cls, settings: Config) -> ShiftCalendar:
        """The calendar of a device, in its time zone."""
        return cls(settings.shifts, load_timezone(settings.device.timezone))

    def find(self, moment: float) -> Shift:
        """The shift that a moment belongs to, seconds since 1970, UTC."""
        today = datetime.fromtimestamp(moment, self.zone).date()
        for day in (today, today - timedelta(1), today + timedelta(1)):
            for shift in self.list_day(day):
                if shift.begins <= moment < shift.ends:
                    return shift
        return Shift(today.isoformat(), NO_SHIFT, self._at(today, 0), self._at(today, DAY_MINUTES))

    def list_day(self, day: date) -> Iterator[Shift]:
        """The shifts that begin on a day, in the order of the configuration."""
        for each in self.shifts:
            begins, ends = (self._at(day, minute) for minute in (each.start_minute, each.start_minute + each.minutes))
            if begins < ends:  # one that lies in a skipped hour does not exist
                yield Shift(day.isoformat(), each.name, begins, ends)

    def local_hour(self, moment: float) -> str:
        """The hour of a moment as the wall clock shows it, RFC 3339 with the offset."""
        local = datetime.fromtimestamp(moment, UTC).astimezone(self.zone)
        return local.replace(minute=0, second=0, microsecond=0).isoformat(timespec="minutes")

    def _at(self, day: date, minute: int) -> float:
        """When the wall clock shows a minute of a day; from 24 hours on, of the next day."""
        day += timedelta(minute // DAY_MINUTES)
        hour, minute = divmod(minute % DAY_MINUTES, 60)
        return datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone).timestamp()
