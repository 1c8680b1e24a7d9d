"""What was measured of a bundle on a device, by `vedette bench`."""

from __future__ import annotations

import msgspec


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One bundle in one back end. Times are of one frame."""

    model: str
    """The bundle's model id."""
    backend: str
    version: str
    """Library and version."""
    threads: int
    frame: tuple[int, int]
    """Width and height of the camera's picture, in pixels."""
    ms: float
    """Median, preprocessing included."""
    p95_ms: float
    model_ms: float
    """Median of the model alone."""
    cpu_seconds: float
    """On all cores together, preprocessing included: the stand-in for energy."""
    peak_rss_mb: float
    """Of a process that does nothing else."""
    startup_seconds: float
    """From the start of that process to its first result."""
    ms_per_million_macs: float | None = None
    """Of the model alone; None: the bundle does not say what it multiplies."""
    ms_per_million_instructions: float | None = None
    """The same, per instruction that is predicted for this core; None: no cost model knows it."""
