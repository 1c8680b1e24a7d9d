"""The schedule of a rule: hours and days.

    hours = "22:00-06:00"          or several: ["06:00-09:00", "16:00-19:00"]
    days = ["fri", "sat"]          each span belongs to the day on which it begins

Together they mean Friday 22:00 to Saturday 06:00 and Saturday 22:00 to Sunday 06:00. A span includes its start and
excludes its end; the end may be 24:00. The time of a frame decides, as a wall clock in the device's time zone shows it:
the hour that daylight saving skips does not exist, and the hour that it repeats exists twice. Outside its schedule a
rule ignores all frames: open events end, and what started before the schedule counts from the start of the schedule.
"""

from __future__ import annotations

import re
from datetime import datetime

from ...config.time_zone import load_timezone
from ...errors import ConfigProblem

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_DAY = 24 * 60  # minutes


class Schedule:
    """The hours and days in which a rule is active."""

    def __init__(self, hours: str | tuple[str, ...] | None, days: tuple[str, ...] | None, timezone: str) -> None:
        """Takes the settings. No hours: at any hour; no days: on every day; no time zone: the machine's.

        Raises:
            ConfigProblem: a span or a day is invalid, or the schedule is never active.
        """
        spans = ("00:00-24:00",) if hours is None else (hours,) if isinstance(hours, str) else hours
        self.is_always_active = hours is None and days is None
        self.spans = [_parse_span(each) for each in spans]
        for each in days or ():
            if each not in _DAYS:
                raise ConfigProblem(f"days: unknown {each!r}", hint=f"days are {', '.join(_DAYS)}")
        self.days = {_DAYS.index(each) for each in (_DAYS if days is None else days)}
        if not self.spans or not self.days:
            key = "days" if self.spans else "hours"
            raise ConfigProblem(f"{key}: none, so the rule would never look", hint=f"name some, or leave {key} out")
        self.zone = load_timezone(timezone)

    def is_active(self, taken: float) -> bool:
        """True if the schedule includes this time, seconds since 1970, UTC."""
        if self.is_always_active:
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


def _parse_span(text: str) -> tuple[int, int]:
    """Start and end of a span like `22:00-06:00`, in minutes of the day."""
    found = _SPAN.fullmatch(text)
    hint = 'write it as "22:00-06:00"; the last minute of a day ends at 24:00'
    if found is None:
        raise ConfigProblem(f"hours: {text!r} is no span of time", hint=hint)
    hour, minute, until_hour, until_minute = map(int, found.groups())
    begin, end = hour * 60 + minute, until_hour * 60 + until_minute
    if begin >= _DAY or end > _DAY or max(minute, until_minute) > 59:
        raise ConfigProblem(f"hours: {text!r} is no span of time", hint=hint)
    if begin == end:
        raise ConfigProblem(f"hours: {text!r} is empty", hint='the whole day is "00:00-24:00", or no hours at all')
    return begin, end
