"""Verdicts on parts, as the daemon stores them."""

from __future__ import annotations

from typing import Any

import msgspec

from vedette.runtime.events.event import SYSTEM_PRIORITY, SystemEvent, format_rfc3339, new_event_id
from vedette.runtime.events.part_verdict import PartVerdict, RegionVerdict


def make_verdict(taken: float, verdict: str = "accept", **fields: Any) -> SystemEvent:
    """The event of a verdict at a time, seconds since 1970, UTC; fields of `PartVerdict` may be given."""
    moment = format_rfc3339(taken)
    rejected = tuple(RegionVerdict(name, "reject", 0.9) for name in fields.pop("rejected", ()))
    facts = PartVerdict(
        part=fields.pop("part", "1"),
        serial=fields.pop("serial", ""),
        verdict=verdict,  # type: ignore[arg-type]
        reason=fields.pop("reason", ""),
        score=fields.pop("score", 0.5),
        label=fields.pop("label", ""),
        regions=fields.pop("regions", rejected),
        product=fields.pop("product", "cells"),
        release=fields.pop("release", "3"),
        triggered=moment,
        exposed=moment,
        decided=moment,
        latency_ms=12.5,
    )
    assert not fields, fields
    built = msgspec.to_builtins(facts)
    return SystemEvent(new_event_id(), "door", "part", "verdict", taken, built, priority=SYSTEM_PRIORITY)
