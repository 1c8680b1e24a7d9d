"""The table `[outbox]` of vedette.toml."""

from __future__ import annotations

from typing import Annotated

import msgspec


class OutboxSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[outbox]` in vedette.toml."""

    max_bytes: Annotated[int, msgspec.Meta(ge=65536)] = 64 << 20
    min_free: Annotated[int, msgspec.Meta(ge=0)] = 16 << 20
    """Bytes that the outbox leaves free on its disk."""
    journal: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    """Number of delivered events that are kept for replay."""
    volatile: bool = False
    """True: a state folder in memory is intended, and is not reported as a fault."""
    drain: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    """Seconds for which a stopping daemon still sends pending events."""
