"""Slows the camera down before the machine has to slow itself down.

Firmware that throttles a hot processor makes every frame late; fewer frames on time are better. Half as many are
looked at from `hot` degrees on, half of those where that does not help, and twice as many again once it is five
degrees cooler. A Raspberry Pi also tells of too low a voltage: that is reported once in each boot. What the machine
does not tell is unknown, never well.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

CHECK_SECONDS = 10.0
COOLER = 5.0  # degrees Celsius
MOST = 8.0
# Bits of get_throttled (raspberrypi.com, "vcgencmd"); the same 16 higher: since the boot.
_BITS = {"undervoltage": 0, "frequency_capped": 1, "throttled": 2, "hot": 3}
_SINCE_BOOT = 16


class Machine(msgspec.Struct, frozen=True):
    """How it is; None is unknown."""

    temperature: float | None
    """Of the hottest zone, degrees Celsius."""
    now: tuple[str, ...] | None
    """What holds at this moment, of `undervoltage`, `frequency_capped`, `throttled`, `hot`."""
    since_boot: tuple[str, ...] | None


def look(sysfs: Path = Path("/sys")) -> Machine:
    """Reads the thermal zones and the firmware's flags."""
    zones = []
    for zone in sysfs.glob("class/thermal/thermal_zone*/temp"):
        with contextlib.suppress(OSError, ValueError):
            zones.append(int(zone.read_text()) / 1000)
    now = since = None
    for flags in sysfs.glob("devices/platform/soc/*firmware/get_throttled"):
        with contextlib.suppress(OSError, ValueError):
            bits = int(flags.read_text(), 16)
            now = tuple(name for name, bit in _BITS.items() if bits >> bit & 1)
            since = tuple(name for name, bit in _BITS.items() if bits >> bit + _SINCE_BOOT & 1)
    return Machine(max(zones, default=None), now, since)


class Governor:
    """Decides how much slower the camera goes.

    Args:
        hot: degrees Celsius
        told: file that names the boot in which an undervoltage was reported last
        boot: this one
        sysfs: where the machine tells of itself
    """

    def __init__(self, hot: float, told: Path, boot: str, sysfs: Path = Path("/sys")) -> None:
        self.hot, self.told, self.boot, self.sysfs = hot, told, boot, sysfs
        self.checked = float("-inf")
        self.slowness = 1.0
        """So many times as long as usual lies between two pictures."""
        self.machine = look(sysfs)

    def changes(self, now: float | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Notices of what has changed: their kind and their facts."""
        now = time.monotonic() if now is None else now
        if now - self.checked < CHECK_SECONDS:
            return
        self.checked = now
        self.machine = look(self.sysfs)
        before, heat = self.slowness, self.machine.temperature
        if heat is not None and heat >= self.hot:
            self.slowness = min(MOST, 2 * before)
        elif heat is None or heat < self.hot - COOLER:
            self.slowness = max(1.0, before / 2)
        if self.slowness != before and 1.0 in (self.slowness, before):
            yield ("hot" if before == 1.0 else "cool"), {"temperature": heat, "slowness": self.slowness}
        if "undervoltage" in (self.machine.since_boot or ()) and self._told() != self.boot:
            yield "undervoltage", {"boot": self.boot}
            with contextlib.suppress(OSError):  # then it is told again at the next start
                self.told.write_text(self.boot)

    def _told(self) -> str:
        try:
            return self.told.read_text()
        except OSError:
            return ""
