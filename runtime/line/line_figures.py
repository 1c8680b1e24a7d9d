"""The line in the status report."""

from __future__ import annotations

import msgspec

from ..calibration.drift import DriftFigures
from .golden_messages import GoldenStatus


class VerdictCounts(msgspec.Struct):
    """Verdicts since the start of the daemon."""

    accept: int = 0
    warn: int = 0
    reject: int = 0
    error: int = 0


class ProductFigures(msgspec.Struct, frozen=True):
    """A product of the line."""

    name: str
    index: int
    """Its number for the line."""
    release: str
    """Of its bundle; empty: that could not be loaded, and its parts are errors."""
    verdicts: VerdictCounts
    drift: DriftFigures | None = None
    """Its scores beside those of the build; None: they cannot be compared."""


class LineFigures(msgspec.Struct, frozen=True):
    """The line of a camera with `[trigger]`, since the start of the daemon."""

    verdicts: VerdictCounts
    unfinished: int
    """Parts that wait for their verdict."""
    unacknowledged: int
    """Results that were taken away before the line had acknowledged them."""
    product: str
    """The one that the line has selected; `none`, or `index N` if no product has that number."""
    products: tuple[ProductFigures, ...]
    golden: GoldenStatus | None
    """Reference parts; None: the camera has no `[golden_parts]`."""
    latency_ms: dict[str, float]
    """From trigger to output: p50, p95, p99 of the last 1,000 parts."""
