"""Waiting for what other processes do, with limits that a busy machine survives."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

MOST_PATIENCE = 8.0
PAUSE_SECONDS = 0.02


def patience() -> float:
    """How many times longer than on an idle machine a wait may take: the load of each core, from 1 to 8."""
    return min(max(os.getloadavg()[0] / (os.cpu_count() or 1), 1.0), MOST_PATIENCE)


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Waits until `condition` holds; fails and names `what` after `seconds` of an idle machine."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds * patience():
            pytest.fail(f"waited {time.monotonic() - started:.0f} s for {what}")
        time.sleep(PAUSE_SECONDS)
