"""The thermal governor: takes fewer frames before the firmware throttles the processor.

A throttled processor makes every frame late; fewer frames on time are better. From `hot` degrees on the governor halves
the frame rate, and halves it again every ten seconds while the machine stays hot, down to an eighth. Five degrees below
it doubles the rate again. A Raspberry Pi also reports undervoltage; the governor reports that once in each boot. A
value that the machine does not report is unknown, which does not mean that all is well.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

CHECK_SECONDS = 10.0
HYSTERESIS_DEGREES = 5.0  # Celsius
MAX_SLOWDOWN = 8.0
# Bits of get_throttled (raspberrypi.com, "vcgencmd"); 16 bits higher: the flag has been set since boot.
_FLAG_BITS = {"undervoltage": 0, "frequency_capped": 1, "throttled": 2, "hot": 3}
_SINCE_BOOT_SHIFT = 16


class MachineHealth(msgspec.Struct, frozen=True):
    """Temperature and firmware flags; None: unknown."""

    temperature: float | None
    """Hottest thermal zone, degrees Celsius."""
    active_flags: tuple[str, ...] | None
    """Flags that are set now: `undervoltage`, `frequency_capped`, `throttled`, `hot`."""
    flags_since_boot: tuple[str, ...] | None


def read_machine_health(sysfs: Path = Path("/sys")) -> MachineHealth:
    """Reads the thermal zones and the firmware's flags."""
    zones = []
    for zone in sysfs.glob("class/thermal/thermal_zone*/temp"):
        with contextlib.suppress(OSError, ValueError):
            zones.append(int(zone.read_text()) / 1000)
    now = since = None
    for flags in sysfs.glob("devices/platform/soc/*firmware/get_throttled"):
        with contextlib.suppress(OSError, ValueError):
            bits = int(flags.read_text(), 16)
            now = tuple(name for name, bit in _FLAG_BITS.items() if bits >> bit & 1)
            since = tuple(name for name, bit in _FLAG_BITS.items() if bits >> bit + _SINCE_BOOT_SHIFT & 1)
    return MachineHealth(max(zones, default=None), now, since)


class ThermalGovernor:
    """Decides how far the frame rate is reduced.

    Args:
        hot_degrees: degrees Celsius from which the frame rate is reduced
        marker_file: file with the ID of the boot in which undervoltage was last reported
        boot: boot ID of this boot
        sysfs: root of the kernel's sysfs
    """

    def __init__(self, hot_degrees: float, marker_file: Path, boot: str, sysfs: Path = Path("/sys")) -> None:
        self.hot_degrees, self.marker_file, self.boot, self.sysfs = hot_degrees, marker_file, boot, sysfs
        self.last_check = float("-inf")
        self.slowdown = 1.0
        """Interval between frames, as a multiple of the usual one."""
        self.machine_health = read_machine_health(sysfs)

    def update(self, now: float | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Checks the machine at most every CHECK_SECONDS; yields kind and facts of a system event for each change."""
        now = time.monotonic() if now is None else now
        if now - self.last_check < CHECK_SECONDS:
            return
        self.last_check = now
        self.machine_health = read_machine_health(self.sysfs)
        before, heat = self.slowdown, self.machine_health.temperature
        if heat is not None and heat >= self.hot_degrees:
            self.slowdown = min(MAX_SLOWDOWN, 2 * before)
        elif heat is None or heat < self.hot_degrees - HYSTERESIS_DEGREES:
            self.slowdown = max(1.0, before / 2)
        if self.slowdown != before and 1.0 in (self.slowdown, before):
            yield ("hot" if before == 1.0 else "cool"), {"temperature": heat, "slowness": self.slowdown}
        if "undervoltage" in (self.machine_health.flags_since_boot or ()) and self._reported_boot() != self.boot:
            yield "undervoltage", {"boot": self.boot}
            with contextlib.suppress(OSError):  # then it is reported again at the next start
                self.marker_file.write_text(self.boot)

    def _reported_boot(self) -> str:
        try:
            return self.marker_file.read_text()
        except OSError:
            return ""
