"""What is known of a part in flight beside its handshake: times of the wall clock, and what its pictures said."""

from __future__ import annotations

import msgspec

from .judgement import Judgement


class PartFacts(msgspec.Struct):
    """What is known of a part in flight beside its handshake."""

    triggered: float
    """Seconds since 1970, UTC."""
    exposed: float | None = None
    """Of its last picture, seconds since 1970, UTC."""
    judgement: Judgement | None = None
