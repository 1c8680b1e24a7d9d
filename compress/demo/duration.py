"""How long the demonstration will take on this machine, before it begins.

A fixed piece of arithmetic on one core is timed. The demonstration took REFERENCE_RATIO times as long where both were
measured (two shared x86 cores); it does not scale exactly alike, so a range is given.
"""

from __future__ import annotations

import time

import numpy as np

REFERENCE_RATIO = 3300.0
LINE_RATIO = 2.4
"""With `--line` a second bundle is built: so many times as long, measured once on a busy machine."""
_SIDE, _ROUNDS = 512, 6
_SHORTEST, _LONGEST = 0.7, 1.6  # of the estimate


def time_arithmetic() -> float:
    """Seconds of the fixed arithmetic; the median of three tries."""
    rng = np.random.default_rng(0)
    matrix = rng.random((_SIDE, _SIDE), np.float32)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        for _ in range(_ROUNDS):
            matrix @ matrix
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def estimate_range(seconds: float) -> tuple[float, float]:
    """Seconds that the demonstration takes at least and at most, as `time_arithmetic` has it."""
    return _SHORTEST * REFERENCE_RATIO * seconds, _LONGEST * REFERENCE_RATIO * seconds


def describe_duration(low: float, high: float) -> str:
    """A range of seconds in minutes."""
    first, last = max(round(low / 60), 1), max(round(high / 60 + 0.5), 1)
    return f"about {first} to {last} minutes" if last > first else f"about {first} minute{'s' if first > 1 else ''}"
