"""The highest temperature of a machine during a measurement, and every flag that its firmware raised."""

from __future__ import annotations

from pathlib import Path

from ..monitoring.thermal_governor import read_machine_health


class Thermometer:
    """Collects what `look` finds.

    Args:
        sysfs: root of the kernel's sysfs
    """

    def __init__(self, sysfs: Path) -> None:
        self.sysfs = sysfs
        self.temperature: float | None = None
        """Highest temperature, degrees Celsius; None: unknown."""
        self._flags: set[str] | None = None

    @property
    def flags(self) -> tuple[str, ...] | None:
        """All flags that were set at any look; None: this machine reports none."""
        return None if self._flags is None else tuple(sorted(self._flags))

    def look(self) -> None:
        """Reads the sensors."""
        health = read_machine_health(self.sysfs)
        if health.temperature is not None:
            self.temperature = max(health.temperature, self.temperature or health.temperature)
        if health.active_flags is not None:
            self._flags = (self._flags or set()) | set(health.active_flags)
