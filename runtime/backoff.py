"""Exponential back-off with full jitter."""

from __future__ import annotations

import random

INITIAL_SECONDS = 0.5  # upper bound before the first retry


def backoff_seconds(failures: int, max_seconds: float) -> float:
    """Seconds to wait after `failures` consecutive failures.

    The wait is uniform between 0 and a bound that doubles with each failure, up to `max_seconds`. Full jitter (Brooker,
    "Exponential Backoff And Jitter", 2015) keeps many devices from reconnecting at the same time.
    """
    doublings = min(failures, 16)  # avoids huge powers if the network is down for weeks; max_seconds applies anyway
    return random.uniform(0, min(max_seconds, INITIAL_SECONDS * 2**doublings))  # noqa: S311
