"""`vedette doctor` says whether this machine has the memory that its cameras need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..config.configuration import Config
from ..process_limits import read_memory_limit
from .doctor_check import Check

SYSTEM_MB = 150
"""Of the system itself and its broker: a 64-bit Raspberry Pi OS Lite without a desktop uses 100 to 150."""
FIRST_MB, FURTHER_MB = 95, 85
"""Daemons of their own, those of a classifier, rounded up: docs/devices.md (`make bench-memory`)."""


PRODUCT_SHARE = 4
"""Bytes of memory for each byte of the bundle of a further product: 3 to 4 were measured (docs/line.md)."""


def estimate_memory(settings: Sequence[Config]) -> int:
    """MB that the daemons of these cameras take together, one unit for each; without what the system takes."""
    extra = sum(each.evidence.clip_memory for each in settings if each.evidence.clip_seconds)
    extra += PRODUCT_SHARE * sum(_size_of(product.bundle) for each in settings for product in each.products[1:])
    return FIRST_MB + FURTHER_MB * (len(settings) - 1) + extra // 1_000_000 if settings else 0


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # the check of the bundle tells it
        return 0


def check_memory(settings: Sequence[Config]) -> list[Check]:
    """One check for all cameras; an estimate, so that what fits barely counts as a fact.

    Args:
        settings: of the cameras that can be read
    """
    if not settings:
        return []
    need, there = estimate_memory(settings), read_memory_limit() // 1_000_000
    found = f"about {need} MB for {len(settings)} camera{'s' if len(settings) > 1 else ''}, of {there} MB"
    if need + SYSTEM_MB <= there:
        return [Check("memory", True, found)]
    remedy = "run them in one unit (docs/devices.md#memory), fewer of them, or with less evidence.clip_memory"
    return [Check("memory", False if need > there else None, found, remedy)]
