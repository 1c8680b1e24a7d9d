"""Random operations and crashes: every sequence number is stored, delivered or in a tombstone."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from vedette.runtime.events.event import Event, SystemEvent, new_event_id
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.inference.prediction import Box, Prediction

SIZE = 128 << 10  # small, so that it is often full


def make_event(size, priority):
    """An event of about `size` bytes and 300."""
    identifier, boxes = new_event_id(), (Prediction("dent", 0.5, Box(0.1, 0.2, 0.3, 0.4)),) * (size // 90)
    return Event(identifier, identifier, "door", "presence", "new", 0.0, 0, 0.0, 1.0, boxes, priority=priority)


def is_tombstone(event):
    return isinstance(event, SystemEvent) and event.kind == "evicted"


class OutboxMachine(RuleBasedStateMachine):
    """The expected state: numbers that were recorded, delivered and refused, and the facts of delivered tombstones."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.generation = 0
        self.outbox = self.open_outbox()
        self.last = 0
        self.delivered, self.dead, self.delivered_tombstones = set(), set(), []

    def open_outbox(self):
        return Outbox(self.folder / str(self.generation) / "outbox.db", SIZE, journal=50, volatile=True, camera="door")

    @initialize()
    def read_epoch(self):
        self.epoch = self.outbox.epoch

    @rule(count=strategies.integers(1, 40), priority=strategies.integers(0, 9), size=strategies.integers(0, 2000))
    def record(self, count, priority, size):
        for _ in range(count):
            number = self.outbox.put(make_event(size, priority))
            assert number > self.last
            self.last = number

    @precondition(lambda self: self.outbox.count_pending())
    @rule(share=strategies.floats(0, 1))
    def acknowledge(self, share):
        rows = self.outbox.read_after(0, 1000)
        accepted = rows[: 1 + int(share * (len(rows) - 1))]
        self.outbox.acknowledge([row.sequence for row in accepted])
        self.delivered |= {row.sequence for row in accepted}
        self.delivered_tombstones += [row.event.facts for row in accepted if is_tombstone(row.event)]

    @precondition(lambda self: self.outbox.count_pending())
    @rule()
    def refuse(self):
        (row,) = self.outbox.read_after(0, 1)
        self.outbox.mark_dead_letter(row.sequence, "no")
        self.dead.add(row.sequence)
        assert row.sequence not in [each.sequence for each in self.outbox.read_after(0, 1000)]

    @rule(count=strategies.integers(1, 100), priority=strategies.integers(0, 9), size=strategies.integers(0, 80_000))
    def record_together(self, count, priority, size):
        """One batch, of up to 160 KB in a file of 128 KB: larger events are truncated, none is refused."""
        events = [make_event(size // count if number else size, priority) for number in range(count)]
        numbers = self.outbox.put_all(events)
        assert len(numbers) == count
        assert numbers == sorted(numbers)
        assert numbers[0] > self.last
        self.last = self.outbox.put_all([make_event(0, 9)])[-1]

    @rule(scarce=strategies.booleans())
    def fill_disk(self, scarce):
        """The disk has less than `min_free` left, or more again."""
        self.outbox.space.min_free = 1 << 62 if scarce else 0

    @rule(first=strategies.integers(1, 300), length=strategies.integers(0, 50))
    def replay(self, first, length):
        waiting = self.outbox.count_pending()
        replayed = self.outbox.replay(first, first + length)
        assert self.outbox.count_replays() == replayed, "a replay that still ran is over"
        assert self.outbox.count_pending() == waiting, "new events come first"
        rows = self.outbox.read_replays(first - 1, 1000)
        assert len({row.sequence for row in rows} & self.delivered) >= replayed
        self.outbox.acknowledge([row.sequence for row in self.outbox.read_replays(0, 7)] or [0])

    @rule()
    def crash(self):
        """Simulates a crash: reopens a copy of the files without closing the outbox first."""
        crashed = self.folder / str(self.generation)
        self.generation += 1
        shutil.copytree(crashed, self.folder / str(self.generation))
        self.outbox.close()
        self.outbox = self.open_outbox()
        self.dead.clear()  # a restart makes them pending again
        assert self.outbox.epoch == self.epoch

    @invariant()
    def every_number_is_accounted_for(self):
        rows = self.outbox.read_after(0, 10_000)
        numbers = [row.sequence for row in rows]
        assert numbers == sorted(numbers)
        stored = dict(self.outbox.database.execute("SELECT sequence, body FROM events"))  # dead letters too
        events = [msgspec.json.decode(body, type=Event | SystemEvent) for body in stored.values()]
        tombstones = [*self.delivered_tombstones, *(each.facts for each in events if is_tombstone(each))]
        evicted = {number for facts in tombstones for number in range(facts["first"], facts["last"] + 1)}
        assert set(stored) | self.delivered | evicted >= set(range(1, self.last + 1))
        assert self.outbox.count_dead_letters() <= len(self.dead)
        assert self.outbox.count_pending() == len(rows)
        assert self.outbox.count_replays() == len(self.outbox.read_replays(0, 10_000))

    @invariant()
    def size_is_limited(self):
        assert (self.folder / str(self.generation) / "outbox.db").stat().st_size <= SIZE

    @invariant()
    def pending_events_are_readable(self):
        for row in self.outbox.read_after(0, 10_000):
            assert msgspec.json.encode(row.event)

    def teardown(self):
        self.outbox.close()
        shutil.rmtree(self.folder)


OutboxMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestOutbox = OutboxMachine.TestCase
