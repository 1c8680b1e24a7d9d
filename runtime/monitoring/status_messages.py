"""The daemon's retained MQTT topics, beside its events.

    stats               the status report, every minute
    stats/part          the numbers of the shift, when they change, if parts get verdicts
    state               rules with open events, and faults, when they change
    time/correlation    wall time and seconds since boot, once the clock is synchronized

Consumers use the correlation to correct timestamps of events that were recorded before the clock was synchronized.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import msgspec

from ..clock import Clock
from ..config.configuration import Config
from ..events.event import format_rfc3339
from ..events.outbox import Outbox
from ..events.part_counts import PartCounts
from ..events.part_stats import PartStats, present_part_stats
from ..events.sinks import Message
from ..events.topics import Topics
from .status import DaemonState, StatusReport

STATS_INTERVAL_SECONDS = 60.0
PART_STATS_INTERVAL_SECONDS = 5.0
STATE_INTERVAL_SECONDS = 0.1  # a state that lasts less is not published


class ClockCorrelation(msgspec.Struct, frozen=True):
    """Wall time and boot time of one moment."""

    bootid: str
    boottime: float
    """Seconds since boot."""
    time: str
    """Wall time, RFC 3339."""


class StatusMessages:
    """The periodic messages of one camera's daemon.

    Args:
        camera: name of the camera
        make_state: makes the present state; called by the forwarder's thread, at most every STATE_INTERVAL_SECONDS
        make_report: makes the status report
        topics: topics of the device
        clock: clock whose correlation is published once it is synchronized
        make_part_stats: makes the numbers of the shift; None: there are none
    """

    def __init__(
        self,
        camera: str,
        make_state: Callable[[], DaemonState],
        make_report: Callable[[], StatusReport],
        topics: Topics,
        clock: Clock,
        make_part_stats: Callable[[], PartStats | None] = lambda: None,
    ) -> None:
        self.make_part_stats = make_part_stats
        self.camera, self.make_state, self.make_report, self.topics, self.clock = (
            camera,
            make_state,
            make_report,
            topics,
            clock,
        )
        self.reset()

    @classmethod
    def from_config(
        cls,
        settings: Config,
        make_state: Callable[[], DaemonState],
        make_report: Callable[[], StatusReport],
        topics: Topics,
        outbox: Outbox,
    ) -> StatusMessages:
        """The messages of a camera's daemon; from now on the outbox counts parts by the shifts of the device."""
        numbers = partial(present_part_stats, PartCounts.from_config(settings, outbox))
        return cls(settings.camera, make_state, make_report, topics, outbox.clock, numbers)

    def reset(self) -> None:
        """Makes all messages pending again: a restarted broker may have lost its retained messages."""
        self.last_state_check = self.last_stats = self.last_part_stats = float("-inf")
        self.sent_state = self.sent_part_stats = b""

    def pending_messages(self) -> list[Message]:
        """The messages to publish now."""
        if time.monotonic() - self.last_state_check < STATE_INTERVAL_SECONDS:
            return []
        self.last_state_check = time.monotonic()
        messages = []
        if (state := msgspec.json.encode(self.make_state())) != self.sent_state:
            self.sent_state = state
            messages.append(_make_retained_message(self.topics.state(self.camera), state))
        if time.monotonic() - self.last_part_stats >= PART_STATS_INTERVAL_SECONDS:
            self.last_part_stats = time.monotonic()
            numbers = self.make_part_stats()
            if numbers is not None and (content := msgspec.json.encode(numbers)) != self.sent_part_stats:
                self.sent_part_stats = content
                messages.append(_make_retained_message(self.topics.part_stats(self.camera), content))
        if time.monotonic() - self.last_stats >= STATS_INTERVAL_SECONDS:
            self.last_stats = time.monotonic()
            messages.append(
                _make_retained_message(self.topics.stats(self.camera), msgspec.json.encode(self.make_report()))
            )
            if self.clock.time_quality() == "synced":
                now = ClockCorrelation(
                    self.clock.boot, round(self.clock.seconds_since_boot(), 3), format_rfc3339(self.clock.wall_time())
                )
                messages.append(_make_retained_message(self.topics.correlation(self.camera), msgspec.json.encode(now)))
        return messages


def _make_retained_message(topic: str, payload: bytes) -> Message:
    return Message(topic, payload, retain=True, content_type="application/json")
