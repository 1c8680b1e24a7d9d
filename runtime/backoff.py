"""How long to wait before the next attempt."""

from __future__ import annotations

import random

FIRST = 0.5  # seconds


def backoff(failures: int, most: float) -> float:
    """Seconds to wait after so many failures in a row: anything up to a bound that doubles each time, to `most`.

    Full jitter (Brooker, "Exponential Backoff And Jitter", 2015), so that a hall of boxes does not come back in step.
    """
    doublings = min(failures, 16)  # far beyond the bound, and it fails for weeks where nobody mends the network
    return random.uniform(0, min(most, FIRST * 2**doublings))  # noqa: S311
