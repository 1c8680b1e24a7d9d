"""How long the demonstration will take on this machine, before it begins.

A fixed piece of work on one core is timed: zlib's compression, which no library speeds up with the instructions of one
processor. On two idle x86 cores without AVX-512 the demonstration took REFERENCE_RATIO times as long. A wide range is
given, because a processor with integer instructions for networks (VNNI) gains more in the demonstration than here.
"""

from __future__ import annotations

import time
import zlib

import numpy as np

REFERENCE_RATIO = 3200.0
LINE_RATIO = 2.4
"""With `--line` a second bundle is built: so many times as long, measured once on a busy machine."""
_BYTES = 1_000_000
_SHORTEST, _LONGEST = 0.4, 1.2  # of the estimate


def time_compression() -> float:
    """Seconds of the fixed work; the median of three tries."""
    steps = np.random.default_rng(0).integers(-2, 3, _BYTES)
    data = np.cumsum(steps).astype(np.uint8).tobytes()
    times = []
    for _ in range(3):
        started = time.perf_counter()
        zlib.compress(data, 6)
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def estimate_range(seconds: float) -> tuple[float, float]:
    """Seconds that the demonstration takes at least and at most, as `time_compression` has it."""
    return _SHORTEST * REFERENCE_RATIO * seconds, _LONGEST * REFERENCE_RATIO * seconds


def describe_duration(low: float, high: float) -> str:
    """A range of seconds in minutes."""
    first, last = max(round(low / 60), 1), max(round(high / 60 + 0.5), 1)
    return f"about {first} to {last} minutes" if last > first else f"about {first} minute{'s' if first > 1 else ''}"
