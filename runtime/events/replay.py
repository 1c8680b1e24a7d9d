"""Replay: delivered events that are in the journal are sent again when someone asks through the broker.

    cmd/replay    {"epoch": "5eed5eed", "from": 11, "to": 15}, with a response topic below the device's `res/`
    answer        {"replayed": 5} or {"error": "…"}

Whoever may publish commands must not be able to stop the device or to delay its events. So a command is checked field
by field, retained commands are ignored, one replay runs at a time, and its events are sent only when no new event
waits, at most REPLAY_RATE of them a second. What is still to be sent is marked in the outbox, and survives a restart.
"""

from __future__ import annotations

import logging
import time
from typing import Annotated

import msgspec

from ..errors import UNREADABLE
from .commands import CommandLimit, make_answer
from .outbox import Outbox, SequencedEvent
from .sinks import Command, Message
from .topics import Topics

log = logging.getLogger(__name__)

REPLAY_RATE = 100  # events a second
MAX_REPLAYS_IN_FLIGHT = 8  # unacknowledged events while replayed ones are sent
MAX_COMMANDS = 5  # a second; more are ignored
_LARGEST_SEQUENCE = 2**63 - 1  # of SQLite

_Sequence = Annotated[int, msgspec.Meta(ge=1, le=_LARGEST_SEQUENCE)]


class ReplayCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"first": "from", "last": "to"}):
    """Payload of `cmd/replay`: the outbox and the range of delivered events to send again."""

    epoch: Annotated[str, msgspec.Meta(max_length=64)]
    first: _Sequence
    last: _Sequence


class ReplayAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a replay command."""

    replayed: int | msgspec.UnsetType = msgspec.UNSET
    """How many events will be sent again."""
    error: str | msgspec.UnsetType = msgspec.UNSET
    """Why none will be."""


class Replay:
    """Obeys replay commands, and says which events to send again now."""

    def __init__(self, outbox: Outbox, topics: Topics) -> None:
        self.outbox, self.topics = outbox, topics
        self.cursor = 0
        """All replayed events up to this sequence number were sent over this connection."""
        self.last_sent = 0.0
        self.limit = CommandLimit(MAX_COMMANDS)

    def reset(self) -> None:
        """Starts again with the first event that is to be sent again: the connection is a new one."""
        self.cursor = 0

    def answer(self, command: Command) -> Message | None:
        """Obeys a command; returns the answer, or None if there is none to send. Never raises on any payload."""
        if command.retained or not self.limit.take():
            log.debug("a command was ignored: it is %s", "retained" if command.retained else "one of too many")
            return None
        body = self._obey(command.payload)
        if body is None or not command.reply_to:
            return None
        answer = make_answer(self.topics, command.reply_to, command.correlation, body)
        if answer is None:
            log.warning("no answer to %r: it is not below %s", command.reply_to[:200], self.topics.responses())
        return answer

    def _obey(self, payload: bytes) -> ReplayAnswer | None:
        """What to answer; None: the command is for another camera of this device."""
        try:
            request = msgspec.json.decode(payload, type=ReplayCommand)
        except UNREADABLE as error:
            return ReplayAnswer(error=f'not of the form {{"epoch": "…", "from": 1, "to": 9}}: {str(error)[:200]}')
        if request.epoch != self.outbox.epoch:
            return None
        if waiting := self.outbox.count_replays():
            return ReplayAnswer(error=f"a replay is running, {waiting} events are still to be sent: ask again later")
        replayed = self.outbox.replay(request.first, request.last)
        self.cursor = 0
        log.info("replay: %d events from %d to %d", replayed, request.first, request.last)
        return ReplayAnswer(replayed)

    def next_events(self, free: int) -> list[SequencedEvent]:
        """The events to send again now. To be called when no new event waits.

        Args:
            free: how many more events may be in flight
        """
        allowed = min(free, int((time.monotonic() - self.last_sent) * REPLAY_RATE + 1e-6))
        if allowed < 1 or not self.outbox.count_replays():
            return []
        rows = self.outbox.read_replays(self.cursor, allowed)
        if rows:
            self.cursor, self.last_sent = rows[-1].sequence, time.monotonic()
        return rows

    def seconds_until_next(self, otherwise: float) -> float:
        """How long to wait before `next_events` may have more, at most `otherwise`."""
        return min(otherwise, 1 / REPLAY_RATE * MAX_REPLAYS_IN_FLIGHT) if self.outbox.count_replays() else otherwise
