"""How long the demonstration will take on this machine, before it begins.

A fixed piece of arithmetic on one core is timed. On two machines with two shared x86 cores the demonstration took 3,300
times as long, and 8,000 times on the one without AVX-512 and VNNI; REFERENCE_RATIO lies between them, and the range
holds both.
"""

from __future__ import annotations

import time

import numpy as np

REFERENCE_RATIO = 5200.0
LINE_RATIO = 2.4
"""With `--line` a second bundle is built: so many times as long, measured once on a busy machine."""
_SIDE, _ROUNDS = 512, 6
_SHORTEST, _LONGEST = 0.6, 1.7  # of the estimate


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
