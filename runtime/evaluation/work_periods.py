"""Periods of work that take turns, in measurements of minutes: the heat of one is then the heat of all."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

MAX_SECONDS = 20.0
"""Longest period."""
MIN_ROUNDS = 3


class WorkPeriod(msgspec.Struct, frozen=True):
    """What was done in one period."""

    seconds: float
    latencies: list[float]
    """Seconds of each frame."""


def plan_periods(minutes: float, parts: int) -> tuple[int, float]:
    """How many rounds of `parts` periods fill the minutes, and the seconds of each period."""
    seconds = 60 * minutes
    rounds = max(MIN_ROUNDS, round(seconds / (parts * MAX_SECONDS)))
    return rounds, seconds / (parts * rounds)


def run_period(call: Callable[[], object], seconds: float, fps: float) -> WorkPeriod:
    """Processes frames for so long.

    Args:
        call: processes one frame
        seconds: length of the period; one frame is processed at least
        fps: frames a second to hold; 0: as many as the machine can
    """
    started = time.monotonic()
    end, latencies = started + seconds, list[float]()
    while not latencies or time.monotonic() < end:
        before = time.perf_counter()
        call()
        latencies.append(time.perf_counter() - before)
        if fps and (wait := started + len(latencies) / fps - time.monotonic()) > 0:
            time.sleep(min(wait, max(0.0, end - time.monotonic())))
    return WorkPeriod(time.monotonic() - started, latencies)
