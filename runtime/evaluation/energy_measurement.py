"""Joules per frame: each back end under load, in turn with the machine at rest.

A round is a period at rest and a period under load of each back end. A frame's energy is what the load adds to the
power at rest, divided by the frames a second. Rounds, because the power at rest drifts with the temperature; the lowest
and the highest round show how sure the median is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from vedette.devices import EnergyResult

from ..progress import Log, no_log
from .power_meters import PowerMeter
from .thermometer import Thermometer
from .work_periods import plan_periods, run_period


class EnergyRequest(msgspec.Struct, frozen=True):
    """What `vedette bench` measures the energy with."""

    meter: PowerMeter
    minutes: float = 10.0
    fps: float = 0.0
    """Frames a second to hold; 0: as many as the machine can."""


class _Period(msgspec.Struct, frozen=True):
    watts: float
    fps: float


def measure_energy(
    calls: Mapping[str, Callable[[], object]],
    request: EnergyRequest,
    sysfs: Path = Path("/sys"),
    log: Log = no_log,
) -> dict[str, EnergyResult]:
    """Measures the energy of each function.

    Args:
        calls: functions that process one frame, by name
        request: meter, length and frame rate
        sysfs: root of the kernel's sysfs, for temperature and flags
        log: takes a line for each round

    Raises:
        MachineProblem: the meter tells nothing any more.
    """
    meter = request.meter
    rounds, length = plan_periods(request.minutes, len(calls) + 1)
    at_rest: list[float] = []
    under_load: dict[str, list[_Period]] = {name: [] for name in calls}
    thermometer = Thermometer(sysfs)
    for number in range(rounds):
        at_rest.append(_run_period(meter, length, None, 0.0).watts)
        for name, call in calls.items():
            under_load[name].append(_run_period(meter, length, call, request.fps))
            thermometer.look()
        log(f"energy: round {number + 1} of {rounds}")
    return {name: _summarize(request, at_rest, periods, thermometer) for name, periods in under_load.items()}


def _run_period(meter: PowerMeter, seconds: float, call: Callable[[], object] | None, fps: float) -> _Period:
    """One period; `call` None: at rest."""
    joules, started = meter.read_joules(), time.monotonic()
    if call is None:
        time.sleep(seconds)
    frames = 0 if call is None else len(run_period(call, seconds, fps).latencies)
    elapsed = time.monotonic() - started
    return _Period((meter.read_joules() - joules) / elapsed, frames / elapsed)


def _summarize(
    request: EnergyRequest, at_rest: list[float], periods: list[_Period], thermometer: Thermometer
) -> EnergyResult:
    joules = [(period.watts - rest) / period.fps for rest, period in zip(at_rest, periods, strict=True)]
    return EnergyResult(
        meter=request.meter.name,
        minutes=request.minutes,
        fps=statistics.median(period.fps for period in periods),
        idle_watts=statistics.median(at_rest),
        load_watts=statistics.median(period.watts for period in periods),
        joules_per_frame=statistics.median(joules),
        joules_lowest=min(joules),
        joules_highest=max(joules),
        late_slowdown=periods[0].fps / periods[-1].fps,
        temperature=thermometer.temperature,
        flags=thermometer.flags,
    )
