"""Whether this machine's clock can be believed."""

from __future__ import annotations

from pathlib import Path

from .event import TimeQuality

# systemd-timesyncd touches this file when it has synchronised the clock since boot (systemd-timesyncd.service(8)).
_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")


def time_quality() -> TimeQuality:
    """`synced` where systemd says so; without systemd-timesyncd nothing is known."""
    return "synced" if _SYNCHRONISED.exists() else "unknown"
