"""The table `[broker.batch]` of vedette.toml."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

BatchEncoding = Literal["gzip", "json"]


class BatchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[broker.batch]` in vedette.toml: several events in one message."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.0
    """Seconds for which an event waits for others at most; 0: each event is a message of its own."""
    bytes: Annotated[int, msgspec.Meta(ge=512, le=1 << 18)] = 2048
    """Most bytes of a message's payload with several events; an event that is larger goes alone."""
    encoding: BatchEncoding = "gzip"
    """How the payload is encoded: JSON, or JSON compressed by gzip."""
    urgent: Annotated[int, msgspec.Meta(ge=0, le=10)] = 6
    """An event of at least this priority goes at once, with those that wait; 10: none does."""
