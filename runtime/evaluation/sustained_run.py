"""A sustained run: the latency of minutes of work, and whether the machine became slower.

A machine that is cold for the first hundred frames may be throttled after five minutes. Each back end runs in periods,
in turn with the others, so that the heat of one is the heat of all; the last period against the first shows what the
firmware took away.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np

from vedette.devices import SustainedResult

from ..progress import Log, no_log
from .thermometer import Thermometer
from .work_periods import WorkPeriod, plan_periods, run_period


class SustainedRequest(msgspec.Struct, frozen=True):
    """How long `vedette bench` runs, and how fast."""

    minutes: float = 10.0
    fps: float = 0.0
    """Frames a second to hold; 0: as many as the machine can."""


def measure_sustained(
    calls: Mapping[str, Callable[[], object]],
    request: SustainedRequest,
    sysfs: Path = Path("/sys"),
    log: Log = no_log,
) -> dict[str, SustainedResult]:
    """Runs each function for its share of the minutes.

    Args:
        calls: functions that process one frame, by name
        request: length of the whole run, and the frame rate
        sysfs: root of the kernel's sysfs, for temperature and flags
        log: takes a line for each round
    """
    rounds, length = plan_periods(request.minutes, len(calls))
    periods: dict[str, list[WorkPeriod]] = {name: [] for name in calls}
    thermometer = Thermometer(sysfs)
    for number in range(rounds):
        for name, call in calls.items():
            periods[name].append(run_period(call, length, request.fps))
            thermometer.look()
        log(f"sustained run: round {number + 1} of {rounds}")
    return {name: _summarize(request, each, thermometer) for name, each in periods.items()}


def _summarize(request: SustainedRequest, periods: list[WorkPeriod], thermometer: Thermometer) -> SustainedResult:
    latencies = [each for period in periods for each in period.latencies]
    p50, p90, p99 = (1e3 * np.quantile(latencies, (0.5, 0.9, 0.99))).tolist()
    first, last = (statistics.median(periods[index].latencies) for index in (0, -1))
    return SustainedResult(
        minutes=request.minutes,
        frames=len(latencies),
        fps=len(latencies) / sum(period.seconds for period in periods),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        late_slowdown=last / first,
        temperature=thermometer.temperature,
        flags=thermometer.flags,
    )
