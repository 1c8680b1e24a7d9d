"""The state of reference parts on disk: in the database of the outbox, written with the event that changes it.

So a lock and its event survive a power cut together, or neither has happened. Between a change and the outbox stand
milliseconds, for which the journal of parts keeps the event (part_journal.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import msgspec

from ..errors import UNREADABLE
from ..events.event import SystemEvent
from ..events.golden_parts import GoldenPartResult, GoldenState
from ..events.outbox import Outbox

log = logging.getLogger(__name__)

RULE = "golden_part"
_KEY = "golden part "
_MARK = b'"rule":"golden_part"'


class GoldenStore:
    """Keeps the states of one camera's products; from now on the outbox keeps those of its new events.

    Args:
        outbox: that stores the events
    """

    def __init__(self, outbox: Outbox) -> None:
        self.outbox, self.database = outbox, outbox.database
        with outbox.transaction():
            outbox.space.followers.append(self._follow)

    def read(self, unstored: Iterable[SystemEvent]) -> dict[str, GoldenState]:
        """The states by product.

        Args:
            unstored: events that may have missed the outbox, oldest first
        """
        query = f"SELECT substr(name, {len(_KEY) + 1}), value FROM facts WHERE name LIKE '{_KEY}%'"  # noqa: S608
        with self.outbox.transaction():
            rows = self.database.execute(query).fetchall()
        states = {}
        for name, value in rows:
            try:
                states[name] = msgspec.json.decode(value, type=GoldenState)
            except UNREADABLE as error:
                log.error("%s: the references of %s are due, their state cannot be read: %s", RULE, name, error)
        for event in unstored:
            result = msgspec.convert(event.facts, GoldenPartResult)
            states[result.product] = result.state
        return states

    def _follow(self, bodies: Sequence[bytes]) -> None:
        """Within the transaction that stores the bodies of new events."""
        for body in bodies:
            if _MARK not in body:
                continue
            record = msgspec.json.decode(body, type=SystemEvent)
            if record.rule == RULE:
                result = msgspec.convert(record.facts, GoldenPartResult)
                value = msgspec.json.encode(result.state).decode()
                self.database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (_KEY + result.product, value))
