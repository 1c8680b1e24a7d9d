"""Interleaved timing of several functions.

Machines are shared and clock rates vary. So the functions run in turn, round by round: a disturbance of a round affects
all of them, and the ratio of two medians stays right even if the milliseconds do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec
import numpy as np


class Timing(msgspec.Struct, frozen=True):
    """Milliseconds of one call."""

    median: float
    p95: float
    p90: float | None = None
    p99: float | None = None


def time_interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int = 100, warm_up: int = 5
) -> dict[str, Timing]:
    """Runs every function once per round and times each call."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(-warm_up, rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            elapsed = time.perf_counter() - start
            if number >= 0:
                seconds[name].append(elapsed)
    quantiles = {name: (1e3 * np.quantile(each, (0.5, 0.95, 0.9, 0.99))).tolist() for name, each in seconds.items()}
    return {name: Timing(*each) for name, each in quantiles.items()}
