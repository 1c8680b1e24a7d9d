"""Whatever is asked of an outbox, in any order, wherever it crashes: each number is kept, delivered or told of."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from vedette.runtime.events.event import Event, Notice, new_id
from vedette.runtime.events.outbox import Outbox

SIZE = 64 << 10  # small, so that it is often full


class Model(RuleBasedStateMachine):
    """What is known from outside: what was recorded, acknowledged and refused, and what the tombstones told."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.generation = 0
        self.outbox = self.opened()
        self.last = 0
        self.delivered, self.dead, self.graves = set(), set(), []

    def opened(self):
        return Outbox(self.folder / str(self.generation) / "outbox.db", SIZE, journal=50, volatile=True, camera="door")

    @initialize()
    def begin(self):
        self.epoch = self.outbox.epoch

    @rule(count=strategies.integers(1, 40), priority=strategies.integers(0, 9), size=strategies.integers(0, 2000))
    def record(self, count, priority, size):
        for _ in range(count):
            one = new_id()
            event = Event(one, one, "door", "presence", "new", 0.0, 0, 0.0, 1.0, (), "m" * size, priority=priority)
            number = self.outbox.put(event)
            assert number > self.last
            self.last = number

    @precondition(lambda self: self.outbox.backlog())
    @rule(share=strategies.floats(0, 1))
    def acknowledge(self, share):
        rows = self.outbox.after(0, 1000)
        taken = rows[: 1 + int(share * (len(rows) - 1))]
        self.outbox.acknowledge([row.sequence for row in taken])
        self.delivered |= {row.sequence for row in taken}
        self.graves += [row.event.facts for row in taken if isinstance(row.event, Notice)]

    @precondition(lambda self: self.outbox.backlog())
    @rule()
    def refuse(self):
        (row,) = self.outbox.after(0, 1)
        self.outbox.refuse(row.sequence, "no")
        self.dead.add(row.sequence)
        assert row.sequence not in [each.sequence for each in self.outbox.after(0, 1000)]

    @rule(first=strategies.integers(1, 300), length=strategies.integers(0, 50))
    def replay(self, first, length):
        before = self.outbox.backlog()
        again = self.outbox.replay(first, first + length)
        assert self.outbox.backlog() == before + again
        waiting = {row.sequence for row in self.outbox.after(first - 1, 1000) if row.sequence <= first + length}
        assert len(waiting & self.delivered) >= again

    @rule()
    def crash(self):
        """The process is gone and its lock with it: what lies on the disk goes on as it is."""
        here = self.folder / str(self.generation)
        self.generation += 1
        shutil.copytree(here, self.folder / str(self.generation))
        self.outbox.close()
        self.outbox = self.opened()
        self.dead.clear()  # a new start tries again
        assert self.outbox.epoch == self.epoch

    @invariant()
    def nothing_is_dropped_silently(self):
        rows = self.outbox.after(0, 10_000)
        numbers = [row.sequence for row in rows]
        assert numbers == sorted(numbers)
        stored = dict(self.outbox.database.execute("SELECT sequence, body FROM events"))  # dead letters too
        events = [msgspec.json.decode(body, type=Event | Notice) for body in stored.values()]
        graves = [*self.graves, *(each.facts for each in events if isinstance(each, Notice))]
        kept = set(stored)
        told = {number for grave in graves for number in range(grave["first"], grave["last"] + 1)}
        assert kept | self.delivered | told >= set(range(1, self.last + 1))
        assert self.outbox.refused() <= len(self.dead)

    @invariant()
    def it_is_bounded(self):
        assert (self.folder / str(self.generation) / "outbox.db").stat().st_size <= SIZE

    @invariant()
    def what_is_left_can_be_read(self):
        for row in self.outbox.after(0, 10_000):
            assert msgspec.json.encode(row.event)

    def teardown(self):
        self.outbox.close()
        shutil.rmtree(self.folder)


Model.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestOutbox = Model.TestCase
