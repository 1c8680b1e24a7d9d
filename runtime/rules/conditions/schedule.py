"""When a rule looks: hours and days.

    hours = "22:00-06:00"          or several: ["06:00-09:00", "16:00-19:00"]
    days = ["fri", "sat"]          each span belongs to the day on which it begins

So the two together are Friday 22:00 to Saturday 06:00 and Saturday 22:00 to Sunday 06:00. A span holds its beginning
and not its end; 24:00 may be one. What counts is when the frame was taken, as a wall clock in the device's time zone
would have shown it: in the night in which clocks go forward the hour that is left out is not there, and in the one in
which they go back it is there twice. Outside its schedule a rule sees nothing; what is open then ends, and what was
going on before it begins counts from its beginning.
"""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

from ...errors import ConfigProblem

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_DAY = 24 * 60  # minutes


class Schedule:
    """See above."""

    def __init__(self, hours: str | tuple[str, ...] | None, days: tuple[str, ...] | None, timezone: str) -> None:
        """No hours: all of them; no days: every day; no time zone: the machine's.

        Raises:
            ConfigProblem: something of it cannot be, or is never.
        """
        written = ("00:00-24:00",) if hours is None else (hours,) if isinstance(hours, str) else hours
        self.always = hours is None and days is None
        self.spans = [_span(each) for each in written]
        for each in days or ():
            if each not in _DAYS:
                raise ConfigProblem(f"days: unknown {each!r}", hint=f"days are {', '.join(_DAYS)}")
        self.days = {_DAYS.index(each) for each in (_DAYS if days is None else days)}
        if not self.spans or not self.days:
            key = "days" if self.spans else "hours"
            raise ConfigProblem(f"{key}: none, so the rule would never look", hint=f"name some, or leave {key} out")
        self.zone = zone(timezone)

    def covers(self, taken: float) -> bool:
        """Whether it looks at a frame taken then, seconds since 1970, UTC."""
        if self.always:
            return True
        local = datetime.fromtimestamp(taken, self.zone)
        minute = local.hour * 60 + local.minute
        today, yesterday = local.weekday() in self.days, (local.weekday() - 1) % 7 in self.days
        for begin, end in self.spans:
            if begin < end:
                if today and begin <= minute < end:
                    return True
            elif (today and minute >= begin) or (yesterday and minute < end):
                return True
        return False


def _span(written: str) -> tuple[int, int]:
    """Minutes of the day at which it begins and ends."""
    found = _SPAN.fullmatch(written)
    hint = 'write it as "22:00-06:00"; the last minute of a day ends at 24:00'
    if found is None:
        raise ConfigProblem(f"hours: {written!r} is no span of time", hint=hint)
    hour, minute, until_hour, until_minute = map(int, found.groups())
    begin, end = hour * 60 + minute, until_hour * 60 + until_minute
    if begin >= _DAY or end > _DAY or max(minute, until_minute) > 59:
        raise ConfigProblem(f"hours: {written!r} is no span of time", hint=hint)
    if begin == end:
        raise ConfigProblem(f"hours: {written!r} is empty", hint='the whole day is "00:00-24:00", or no hours at all')
    return begin, end


def zone(name: str) -> ZoneInfo | None:
    """The time zone of that name; None: the machine's, where there is no name.

    Raises:
        ConfigProblem: nobody knows it.
    """
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        hint = "name one of /usr/share/zoneinfo, as Europe/Berlin; without one the machine's is taken"
        raise ConfigProblem(f"device.timezone: unknown {name!r}", hint=hint) from None
