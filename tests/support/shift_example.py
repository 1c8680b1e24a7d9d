"""A camera with five early shifts: more rejects and a drifting score from the middle of the last one on."""

from __future__ import annotations

import random
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from verdicts import make_verdict

from vedette.runtime.config.configuration import Config, load_config
from vedette.runtime.events.event import SystemEvent
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.part_counts import PartCounts

DEVICE = """[device]
name = "box"
timezone = "Europe/Berlin"
[outbox]
volatile = true
[[shifts]]
name = "early"
from = "06:00"
to = "14:00"
[[shifts]]
name = "late"
from = "14:00"
to = "22:00"
"""
LAST_DAY, PARTS = 27, 1600


def write_shifts(folder: Path) -> tuple[Config, list[SystemEvent]]:
    """Writes the configuration and the outbox; returns the verdicts of the last shift."""
    (folder / "cameras").mkdir(parents=True)
    (folder / "vedette.toml").write_text(DEVICE)
    (folder / "cameras" / "door.toml").write_text(
        'source = "file:parts"\nbundle = "cells.vedette"\n[[rules]]\nuse = "presence"\n'
    )
    settings = load_config(folder, "door")
    outbox = Outbox.from_config(settings)
    PartCounts.from_config(settings, outbox)
    verdicts: list[SystemEvent] = []
    for day in range(LAST_DAY - 4, LAST_DAY + 1):
        verdicts = list(_make_shift(day))
        for start in range(0, PARTS, 100):
            outbox.put(*verdicts[start : start + 100])
    outbox.close()
    return settings, verdicts


def _make_shift(day: int) -> list[SystemEvent]:
    chance = random.Random(day)
    begins = datetime(2026, 11, day, 6, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    verdicts = []
    for number in range(PARTS):
        is_late = day == LAST_DAY and number >= PARTS // 2
        draw, rate = chance.random(), 0.05 if is_late else 0.02
        score = chance.gauss(0.3 + (0.01 if is_late else 0), 0.03)
        taken, serial = begins + 17.5 * number, f"{day}-{number}"
        if draw < rate:
            label, rejected = chance.choice(("scratch", "scratch", "chip")), chance.choice((("rim",), ("rim", "hole")))
            verdicts.append(make_verdict(taken, "reject", score=score, serial=serial, label=label, rejected=rejected))
        elif draw < rate + 0.01:
            verdicts.append(make_verdict(taken, "warn", score=score, serial=serial))
        elif draw < rate + 0.013:
            verdicts.append(make_verdict(taken, "error", score=None, serial=serial, reason="late"))
        else:
            verdicts.append(make_verdict(taken, score=score, serial=serial))
    return verdicts
