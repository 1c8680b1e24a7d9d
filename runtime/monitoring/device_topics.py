"""What is published of the daemon itself, beside its events: how it goes, every minute; what holds now, whenever that
changes; and what its clock says, so that whoever has events of a box that was wrong about the time can put them right.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from ..clock import Clock
from ..events.event import rfc3339
from ..events.sinks import Message
from ..events.topics import Topics
from .status import Report, State

STATS_SECONDS = 60.0
LOOK_SECONDS = 0.1  # what comes and goes within is not told of


class Correlation(msgspec.Struct, frozen=True):
    """Which wall time a second since the boot is."""

    bootid: str
    boottime: float
    time: str


class Bulletin:
    """Of one camera's daemon.

    Args:
        camera: its name
        state: tells what holds now; asked whenever the forwarder turns, but not oftener than that
        report: tells how it goes
        topics: of the device
        clock: is told of once it is right
    """

    def __init__(
        self, camera: str, state: Callable[[], State], report: Callable[[], Report], topics: Topics, clock: Clock
    ) -> None:
        self.camera, self.now, self.report, self.topics, self.clock = camera, state, report, topics, clock
        self.anew()

    def anew(self) -> None:
        """All of it is due: a broker that was started again may have forgotten what it kept."""
        self.looked = self.told = float("-inf")
        self.state = b""

    def due(self) -> list[Message]:
        """What is to be published now."""
        if time.monotonic() - self.looked < LOOK_SECONDS:
            return []
        self.looked = time.monotonic()
        found = []
        if (state := msgspec.json.encode(self.now())) != self.state:
            self.state = state
            found.append(_retained(self.topics.state(self.camera), state))
        if time.monotonic() - self.told >= STATS_SECONDS:
            self.told = time.monotonic()
            found.append(_retained(self.topics.stats(self.camera), msgspec.json.encode(self.report())))
            if self.clock.quality() == "synced":
                now = Correlation(self.clock.boot, round(self.clock.since_boot(), 3), rfc3339(self.clock.wall()))
                found.append(_retained(self.topics.correlation(self.camera), msgspec.json.encode(now)))
        return found


def _retained(topic: str, payload: bytes) -> Message:
    return Message(topic, payload, retain=True, content_type="application/json")
