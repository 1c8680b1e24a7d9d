"""What time it is, and whether that can be believed.

A box without a battery-backed clock starts in the past and jumps once it finds a time server. So nothing waits by the
wall clock, and each event also carries the seconds since its boot, which no one sets: once the clock is right, the wall
time of what still waits is worked out again from them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

TimeQuality = Literal["synced", "unknown"]

# systemd-timesyncd touches this file when it has synchronised the clock since boot (systemd-timesyncd.service(8)).
_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """The machine's. Whatever needs the time is given one, so that a test can turn it back."""

    def __init__(self) -> None:
        self.boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
        """Names this boot, and no other of any machine."""

    def wall(self) -> float:
        """Seconds since 1970, UTC, as far as the machine knows."""
        return time.time()

    def since_boot(self) -> float:
        """Seconds, suspended ones too."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def quality(self) -> TimeQuality:
        """`synced` where systemd says so; without systemd-timesyncd nothing is known."""
        return "synced" if _SYNCHRONISED.exists() else "unknown"

    def booted(self) -> float:
        """When the machine started, by what its clock says now: seconds since 1970, UTC."""
        return self.wall() - self.since_boot()
