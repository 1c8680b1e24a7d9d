"""The verdict on one part."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..inference.prediction import Box

PartKind = Literal["", "good", "bad"]
"""What a reference part is known to be; empty: the part is none."""
PartDecision = Literal["accept", "warn", "reject", "error"]


class RegionVerdict(msgspec.Struct, frozen=True):
    """What was found in one region of the part."""

    name: str
    """Empty: a finding in no region that the bundle names."""
    verdict: PartDecision
    score: float | None = None
    label: str = ""
    box: Box | None = None
    """Around the finding, as fractions of the picture; None: the model does not say where it is."""


class PartVerdict(msgspec.Struct, frozen=True):
    """The verdict on one part."""

    part: str
    serial: str
    verdict: PartDecision
    reason: str
    score: float | None
    label: str
    regions: tuple[RegionVerdict, ...]
    product: str
    release: str
    triggered: str
    exposed: str
    decided: str
    latency_ms: float
    reference: PartKind = ""
    """What a reference part is known to be; these parts are not counted. Empty: the part is none."""
