"""The time zone of a device: that of the hours and days in rules, and of the shifts."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from ..errors import ConfigProblem


def load_timezone(name: str) -> ZoneInfo | None:
    """The time zone of that name; None, which means the machine's, for an empty name.

    Raises:
        ConfigProblem: the name is unknown.
    """
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        hint = "name one of /usr/share/zoneinfo, as Europe/Berlin; without one the machine's is taken"
        raise ConfigProblem(f"device.timezone: unknown {name!r}", hint=hint) from None
