"""Power meters: what a machine, or its processor, has consumed, in joules.

    rapl        the processor's own counter (Intel, AMD): /sys/class/powercap. Only the processor, not the board.
    hwmon       a sensor of the kernel (INA219, INA226): /sys/class/hwmon, `power*_input` in microwatts
    pmic        the power chip of a Raspberry Pi 5: the rails that `vcgencmd pmic_read_adc` lists. Not the losses of the
                power chip, nor what is connected by USB.
    text:PATH   lines of a USB meter or of another program, from a serial port, a pipe or a file that grows

A counter is read; a meter that tells watts is sampled, and its watts are added up over time.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ..errors import ConfigProblem, MachineProblem

SAMPLE_SECONDS = 0.1
SILENCE_SECONDS = 5.0
"""A meter that tells nothing for this long has failed."""
METERS = "rapl, hwmon, hwmon:NAME, pmic, text:PATH or auto"
_WATTS = re.compile(r"(-?\d+(?:\.\d+)?)\s*(m?)W\b")
_VOLTS = re.compile(r"(-?\d+(?:\.\d+)?)\s*V\b")
_AMPERES = re.compile(r"(-?\d+(?:\.\d+)?)\s*(m?)A\b")
_RAIL = re.compile(r"(\w+)_([AV])\s+(?:current|volt)\(\d+\)=(\d+(?:\.\d+)?)[AV]")


class PowerMeter(Protocol):
    """A counter of consumed energy."""

    name: str

    def read_joules(self) -> float:
        """Joules since the first reading, or since the meter was opened.

        Raises:
            MachineProblem: the meter tells nothing any more.
        """
        ...

    def close(self) -> None:
        """Ends the sampling."""
        ...


class RaplMeter:
    """Energy counters of the processor packages. They wrap around, at a value that the kernel tells.

    Raises:
        MachineProblem: there is no counter, or this user may not read it.
    """

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        zones = sorted(sysfs.glob("class/powercap/intel-rapl:*"))
        self._zones = [zone for zone in zones if zone.name.count(":") == 1]  # a second colon: a part of a package
        if not self._zones:
            hint = "virtual machines have none, and on Arm boards there is none"
            raise MachineProblem("rapl: this machine has no energy counter in /sys/class/powercap", hint=hint)
        self.name = "rapl: " + ", ".join((zone / "name").read_text().strip() for zone in self._zones)
        self._last = [self._read(zone) for zone in self._zones]
        self._limits = [int((zone / "max_energy_range_uj").read_text()) for zone in self._zones]
        self._microjoules = 0

    def read_joules(self) -> float:
        """See PowerMeter. It must be read more often than a counter wraps around: minutes."""
        for number, zone in enumerate(self._zones):
            now = self._read(zone)
            step = now - self._last[number]
            self._microjoules += step if step >= 0 else step + self._limits[number]
            self._last[number] = now
        return self._microjoules / 1e6

    def close(self) -> None:
        """See PowerMeter."""

    @staticmethod
    def _read(zone: Path) -> int:
        try:
            return int((zone / "energy_uj").read_text())
        except PermissionError:
            raise MachineProblem(f"{zone}: this user may not read the energy counter", hint="use sudo") from None


class SampledMeter:
    """A meter that tells watts: from the first reading on, a thread samples it and adds them up.

    Args:
        name: what is read
        read_watts: gives the watts of now; it may wait for the meter's next line
        pause: seconds between samples
    """

    def __init__(self, name: str, read_watts: Callable[[], float], pause: float = SAMPLE_SECONDS) -> None:
        self.name, self._pause = name, pause
        self._read_watts, self._joules, self._error = read_watts, 0.0, ""
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._watts, self._at = self._sample_first(), time.monotonic()
        self._thread: threading.Thread | None = None

    def read_joules(self) -> float:
        """See PowerMeter. The time since the last sample counts with its watts."""
        if self._thread is None:
            self._at = time.monotonic()
            self._thread = threading.Thread(target=self._run, name="power meter", daemon=True)
            self._thread.start()
        with self._lock:
            elapsed = time.monotonic() - self._at
            if self._error or elapsed > SILENCE_SECONDS:
                reason = self._error or f"no reading for {SILENCE_SECONDS:g} s"
                raise MachineProblem(f"{self.name}: {reason}", hint="check the meter and its cable")
            return self._joules + self._watts * elapsed

    def close(self) -> None:
        """See PowerMeter."""
        self._stopped.set()

    def _sample_first(self) -> float:
        try:
            return self._read_watts()
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise MachineProblem(f"{self.name}: {error}", hint="check the meter and its cable") from None

    def _run(self) -> None:
        while not self._stopped.wait(self._pause):
            try:
                watts = self._read_watts()
            except (OSError, ValueError, subprocess.TimeoutExpired) as error:
                self._error = str(error)
                return
            with self._lock:
                now = time.monotonic()
                self._joules += (self._watts + watts) / 2 * (now - self._at)
                self._watts, self._at = watts, now


def parse_watts(line: str) -> float | None:
    """The watts of a line such as `5.08 V 0.61 A 3.10 W`, `P=3100mW` or `5.08V,0.61A`; None: the line tells none."""
    if match := _WATTS.search(line):
        return float(match[1]) * (1e-3 if match[2] else 1.0)
    volts, amperes = _VOLTS.search(line), _AMPERES.search(line)
    if volts and amperes:
        return float(volts[1]) * float(amperes[1]) * (1e-3 if amperes[2] else 1.0)
    return None


def sum_rails(text: str) -> float:
    """Watts of all rails that `vcgencmd pmic_read_adc` lists with a current and a voltage.

    Raises:
        ValueError: it lists none.
    """
    rails: dict[str, dict[str, float]] = {}
    for name, unit, value in _RAIL.findall(text):
        rails.setdefault(name, {})[unit] = float(value)
    powers = [rail["A"] * rail["V"] for rail in rails.values() if len(rail) == 2]
    if not powers:
        raise ValueError("vcgencmd pmic_read_adc lists no rail; only a Raspberry Pi 5 has them")
    return sum(powers)


def open_power_meter(name: str, sysfs: Path = Path("/sys")) -> PowerMeter:
    """Opens the meter `name`; `auto` takes the first that this machine has, of hwmon, pmic and rapl.

    Raises:
        ConfigProblem: no meter has this name.
        MachineProblem: the machine does not have this meter.
    """
    kind, _, rest = name.partition(":")
    if kind == "text" and rest:
        return _open_text_meter(Path(rest))
    if name == "auto":
        return _open_first_meter(sysfs)
    if kind == "hwmon":
        return _open_hwmon_meter(sysfs, rest)
    if name == "pmic":
        return SampledMeter("pmic", _read_pmic)
    if name == "rapl":
        return RaplMeter(sysfs)
    raise ConfigProblem(f"power meter {name!r} is unknown", hint=f"use {METERS}")


def _open_first_meter(sysfs: Path) -> PowerMeter:
    for name in ("hwmon", "pmic", "rapl"):
        try:
            return open_power_meter(name, sysfs)
        except MachineProblem:
            continue
    hint = "connect a USB meter and name it: --power-meter text:/dev/ttyUSB0"
    raise MachineProblem("this machine has no power meter that is known: no hwmon sensor, no pmic, no rapl", hint=hint)


def _open_hwmon_meter(sysfs: Path, chip: str) -> PowerMeter:
    sensors = {}
    for path in sorted(sysfs.glob("class/hwmon/hwmon*/power*_input")):
        label = (path.parent / "name").read_text().strip()
        if not chip or label == chip:
            sensors[path] = label
    if not sensors:
        found = {path.read_text().strip() for path in sysfs.glob("class/hwmon/hwmon*/name")}
        hint = f"sensors of this machine: {', '.join(sorted(found)) or 'none'}"
        raise MachineProblem(f"hwmon: no sensor{f' {chip!r}' if chip else ''} measures power", hint=hint)
    name = "hwmon: " + ", ".join(sorted(set(sensors.values())))
    return SampledMeter(name, lambda: sum(int(path.read_text()) for path in sensors) / 1e6)


def _read_pmic() -> float:
    # "vcgencmd" is looked up in PATH: Raspberry Pi OS and Debian keep it in different folders.
    command = ["vcgencmd", "pmic_read_adc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SILENCE_SECONDS)  # noqa: S603
    return sum_rails(done.stdout)


def _open_text_meter(path: Path) -> PowerMeter:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        if path.is_file():
            os.lseek(descriptor, 0, os.SEEK_END)  # what it holds already is of the past
    except OSError as error:
        raise MachineProblem(f"{path}: {error.strerror}", hint="name the meter's serial port or a pipe") from None

    received = bytearray()

    def read_next() -> float:
        end = time.monotonic() + SILENCE_SECONDS
        while time.monotonic() < end:
            line, newline, rest = received.partition(b"\n")
            if newline:
                received[:] = rest
                if (watts := parse_watts(line.decode(errors="replace"))) is not None:
                    return watts
                continue
            try:
                content = os.read(descriptor, 4096)
            except BlockingIOError:
                content = b""
            received.extend(content)
            if not content:
                time.sleep(SAMPLE_SECONDS)
        raise ValueError(f"no line such as 3.10 W, 3100 mW or 5.08 V 0.61 A was added for {SILENCE_SECONDS:g} s")

    meter = SampledMeter(f"text: {path}", read_next, pause=0.0)
    meter.read_joules()  # at once: a serial port that nobody reads loses pieces of lines
    return meter
