"""Wall clock, boot clock, and whether the wall clock is synchronized.

A device without a battery-backed clock starts with a time in the past, and the time jumps once a time server answers.
Therefore no timeout uses the wall clock, and each event also carries the seconds since boot, which nobody can set. Once
the clock is synchronized, the wall time of pending events is corrected from them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

TimeQuality = Literal["synced", "unknown"]

# systemd-timesyncd touches this file when it has synchronized the clock since boot (systemd-timesyncd.service(8)).
_SYNCHRONIZED_MARKER = Path("/run/systemd/timesync/synchronized")
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """The clock of this machine. Users receive it as an argument, so that a test can pass another one."""

    def __init__(self) -> None:
        self.boot = _BOOT_ID_FILE.read_text().strip() if _BOOT_ID_FILE.exists() else ""
        """The kernel's boot ID: unique to this boot of this machine; empty if unknown."""

    def wall_time(self) -> float:
        """Seconds since 1970, UTC, by the machine's clock, which may be wrong."""
        return time.time()

    def seconds_since_boot(self) -> float:
        """Seconds since boot, including those in suspend (CLOCK_BOOTTIME)."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def time_quality(self) -> TimeQuality:
        """`synced` if systemd-timesyncd has synchronized the clock since boot; otherwise, or without it, `unknown`."""
        return "synced" if _SYNCHRONIZED_MARKER.exists() else "unknown"

    def boot_time(self) -> float:
        """Time of the boot by the present wall clock: seconds since 1970, UTC."""
        return self.wall_time() - self.seconds_since_boot()
