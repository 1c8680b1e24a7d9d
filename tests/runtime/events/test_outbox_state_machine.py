"""Random operations and crashes: for the broker and for a sink beside it, every sequence number is stored, delivered or
in a tombstone.

Which operations are possible does not depend on sizes: these differ with the time, and so would the examples.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from vedette.runtime.events.event import Event, SystemEvent, new_event_id
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.outbox_cursors import BROKER
from vedette.runtime.events.sink_queue import SinkQueue
from vedette.runtime.inference.prediction import Box, Prediction

SIZE = 128 << 10  # small, so that it is often full


def make_event(size, priority):
    """An event of about `size` bytes and 300."""
    identifier, boxes = new_event_id(), (Prediction("dent", 0.5, Box(0.1, 0.2, 0.3, 0.4)),) * (size // 90)
    return Event(identifier, identifier, "door", "presence", "new", 0.0, 0, 0.0, 1.0, boxes, priority=priority)


def is_tombstone(event):
    return isinstance(event, SystemEvent) and event.kind == "evicted"


def evicted(tombstones):
    """The numbers that tombstones cover."""
    return {number for facts in tombstones for number in range(facts["first"], facts["last"] + 1)}


class OutboxMachine(RuleBasedStateMachine):
    """The expected state: numbers that were recorded, delivered and refused, and the facts of delivered tombstones."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.generation = 0
        self.last = 0
        self.add_sink()
        self.delivered, self.dead, self.delivered_tombstones = set(), set(), []

    def open_outbox(self):
        path = self.folder / str(self.generation) / "outbox.db"
        sinks = ("alerts",) if self.start is not None else ()
        self.outbox = Outbox(path, SIZE, journal=50, volatile=True, camera="door", sinks=sinks)
        self.queue = SinkQueue(self.outbox, "alerts")

    def add_sink(self):
        """A new sink starts with the events after `start`."""
        self.start = self.last
        self.taken, self.sink_dead, self.taken_tombstones = set(), set(), []
        self.open_outbox()

    @initialize()
    def read_epoch(self):
        self.epoch = self.outbox.epoch

    @rule(count=strategies.integers(1, 40), priority=strategies.integers(0, 9), size=strategies.integers(0, 2000))
    def record(self, count, priority, size):
        for _ in range(count):
            number = self.outbox.put(make_event(size, priority))
            assert number > self.last
            self.last = number

    @rule(share=strategies.floats(0, 1))
    def acknowledge(self, share):
        rows = self.outbox.read_after(0, 1000)
        accepted = rows[: 1 + int(share * (len(rows) - 1))]
        self.outbox.acknowledge([row.sequence for row in accepted] or [0])
        self.delivered |= {row.sequence for row in accepted}
        self.delivered_tombstones += [row.event.facts for row in accepted if is_tombstone(row.event)]

    @rule()
    def refuse(self):
        for row in self.outbox.read_after(0, 1):
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

    @precondition(lambda self: self.start is not None)
    @rule(skipped=strategies.integers(0, 2), share=strategies.floats(0, 1))
    def take(self, skipped, share):
        """The sink acknowledges some of its events, and not always the oldest ones."""
        rows = self.queue.read_after(0, 1000)
        accepted = rows[skipped : skipped + 1 + int(share * len(rows))]
        if accepted:
            self.queue.acknowledge([row.sequence for row in accepted], 17.0)
        self.taken |= {row.sequence for row in accepted}
        self.taken_tombstones += [row.event.facts for row in accepted if is_tombstone(row.event)]
        assert not {row.sequence for row in accepted} & {row.sequence for row in self.queue.read_after(0, 1000)}

    @precondition(lambda self: self.start is not None)
    @rule(number=strategies.integers(1, 40))
    def sink_refuses(self, number):
        for row in self.queue.read_after(0, number):
            self.queue.mark_dead_letter(row.sequence, "no" * 200)
            self.sink_dead.add(row.sequence)
            assert row.sequence not in [each.sequence for each in self.queue.read_after(0, 1000)]

    @rule(sink=strategies.sampled_from(["stays", "stays", "goes", "is new"]))
    def crash(self, sink):
        """Simulates a crash: reopens a copy of the files without closing the outbox first."""
        crashed = self.folder / str(self.generation)
        self.generation += 1
        shutil.copytree(crashed, self.folder / str(self.generation))
        self.outbox.close()
        self.dead.clear()  # a restart makes them pending again
        self.sink_dead.clear()
        if sink == "goes":
            self.start = None
        if sink == "is new" and self.start is None:
            self.last = self._newest()
            self.add_sink()
        else:
            self.open_outbox()
        assert self.outbox.epoch == self.epoch

    def _newest(self):
        """The newest number, which may be that of a tombstone."""
        database = sqlite3.connect(self.folder / str(self.generation) / "outbox.db")
        (newest,) = database.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'"
        ).fetchone()
        database.close()
        return newest

    @invariant()
    def every_number_is_accounted_for(self):
        rows = self.outbox.read_after(0, 10_000)
        numbers = [row.sequence for row in rows]
        assert numbers == sorted(numbers)
        stored = dict(self.outbox.database.execute("SELECT sequence, body FROM events"))  # dead letters too
        events = [msgspec.json.decode(body, type=Event | SystemEvent) for body in stored.values()]
        kept = [each.facts for each in events if is_tombstone(each)]
        assert set(stored) | self.delivered | evicted(self.delivered_tombstones + kept) >= set(range(1, self.last + 1))
        assert self.outbox.count_dead_letters() <= len(self.dead)
        assert self.outbox.count_pending() == len(rows)
        assert self.outbox.count_replays() == len(self.outbox.read_replays(0, 10_000))

    @invariant()
    def the_sink_gets_every_number(self):
        if self.start is None:
            return
        rows = self.queue.read_after(0, 10_000)
        numbers = [row.sequence for row in rows]
        stored = {number for (number,) in self.outbox.database.execute("SELECT sequence FROM events")}
        bodies = self.outbox.database.execute("SELECT body FROM events WHERE priority = 10").fetchall()
        kept = [msgspec.json.decode(body, type=Event | SystemEvent).facts for (body,) in bodies]
        known = set(numbers) | self.taken | (self.sink_dead & stored) | evicted(self.taken_tombstones + kept)
        assert known >= set(range(self.start + 1, self.last + 1))
        assert not set(numbers) & (self.taken | self.sink_dead)
        assert self.queue.count_pending() == len(rows)
        assert self.queue.count_dead_letters() == len(self.sink_dead & stored)
        for facts in kept:
            assert set(facts.get("sinks", ())) <= {BROKER, "alerts"}

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
