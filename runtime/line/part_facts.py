"""What is known of a part in flight beside its handshake, and the verdict as its event has it."""

from __future__ import annotations

import time

import msgspec

from ..events.event import format_rfc3339, new_event_id
from ..events.part_verdict import PartVerdict
from .handshake_state import Part
from .judgement import Judgement
from .line_products import LineProducts


class PartFacts(msgspec.Struct):
    """What is known of a part in flight."""

    part: Part
    triggered: float
    """Seconds since 1970, UTC."""
    exposed: float | None = None
    """Of its last picture, seconds since 1970, UTC."""
    judgement: Judgement | None = None
    event: str = msgspec.field(default_factory=new_event_id)
    """The id that the event of its verdict will have; its pictures have this name."""

    def make_verdict(self, products: LineProducts, decided: float) -> PartVerdict:
        """The final verdict.

        Args:
            products: of the line
            decided: seconds since 1970, UTC
        """
        part, judgement = self.part, self.judgement or Judgement("error")
        product, release = products.describe(part.product)
        return PartVerdict(
            part=str(part.number),
            serial=part.serial,
            verdict=part.verdict or "error",
            reason=part.reason,
            score=judgement.score,
            label=judgement.label,
            regions=judgement.regions,
            product=product,
            release=release,
            triggered=format_rfc3339(self.triggered),
            exposed="" if self.exposed is None else format_rfc3339(self.exposed),
            decided=format_rfc3339(decided),
            reference=part.expected,
            latency_ms=round(1000 * (time.monotonic() - part.triggered), 3),
        )
