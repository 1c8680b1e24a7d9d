"""The line in the status report."""

from __future__ import annotations

import msgspec


class VerdictCounts(msgspec.Struct):
    """Verdicts since the start of the daemon."""

    accept: int = 0
    warn: int = 0
    reject: int = 0
    error: int = 0


class LineFigures(msgspec.Struct, frozen=True):
    """The line of a camera with `[trigger]`, since the start of the daemon."""

    verdicts: VerdictCounts
    unfinished: int
    """Parts that wait for their verdict."""
    unacknowledged: int
    """Results that were taken away before the line had acknowledged them."""
    latency_ms: dict[str, float]
    """From trigger to output: p50, p95, p99 of the last 1,000 parts."""
