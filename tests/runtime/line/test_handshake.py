"""The handshake: no order of signals gives a wrong, a late, a second or an exchanged verdict."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from vedette.runtime.events.part_verdict import PartDecision
from vedette.runtime.line.handshake import PASSING, Handshake
from vedette.runtime.line.handshake_state import HandshakeSettings, Part

DECISIONS: tuple[PartDecision, ...] = ("accept", "warn", "reject", "error")


class Watcher:
    """Sees all that goes in and out of a machine, and checks it after each step."""

    def __init__(self, settings: HandshakeSettings) -> None:
        self.machine, self.settings = Handshake(settings), settings
        self.triggered: dict[int, float] = {}
        self.known: dict[int, bool] = {}
        self.selected = self.machine.product
        self.products: dict[int, int] = {}
        """The product that was selected when a part was triggered."""
        self.decided: dict[int, PartDecision] = {}
        self.final: list[Part] = []
        self.shown: list[int] = []
        self.last_shown = 0

    def trigger(self, now: float) -> int:
        ready = self.machine.outputs.trigger_ready
        part = self.machine.trigger(now)
        self.triggered[part.number] = now
        self.products[part.number] = self.selected
        self.known[part.number] = self.selected in self.settings.products
        if not self.known[part.number] or not ready:
            self.decided[part.number] = "error"
        self.check(now)
        return part.number

    def select(self, index: int, now: float) -> None:
        self.machine.select_product(index, now)
        self.selected = index
        self.check(now)

    def decide(self, number: int, verdict: PartDecision, now: float) -> None:
        if self.machine.decide(number, verdict, "", now):
            assert number not in self.decided, "a second verdict was taken"
            self.decided[number] = verdict
        self.check(now)

    def check(self, now: float) -> None:
        new = self.machine.take_final()
        for part in new:
            assert part.verdict is not None
            assert part.product == self.products[part.number], "of another product"
            given = self.decided.get(part.number)
            if part.verdict in PASSING:
                assert part.verdict == given, "no one gave this verdict"
                assert part.finished < part.due, "late and passed"
                assert self.known[part.number], "a wrong product passed"
            elif part.verdict == "reject":
                assert given == "reject"
        self.final += new
        assert [part.number for part in self.final] == list(range(1, len(self.final) + 1))
        outputs = self.machine.outputs
        lights = [outputs.ok, outputs.ng, outputs.warn, outputs.error]
        assert sum(lights) == outputs.results_ready
        if outputs.results_ready:
            part = self.final[outputs.part - 1]
            assert outputs.product == self.products[outputs.part], "the output is of another product"
            shown = [outputs.ok, outputs.warn, outputs.ng, outputs.error].index(True)
            assert part.verdict == DECISIONS[shown]
            if outputs.part != self.last_shown:
                assert outputs.part > self.last_shown, "out of order"
                if not self.settings.gate and part.verdict in PASSING:
                    assert now < part.due, "shown too late"
                if self.settings.gate:
                    assert outputs.part == self.machine.number - self.settings.gate, "not at the gate"
                self.last_shown = outputs.part
                self.shown.append(outputs.part)

    def copy(self) -> Watcher:
        """A second one in the same state; far faster than `deepcopy`."""
        other = copy.copy(self)
        for name in ("triggered", "known", "decided", "products"):
            setattr(other, name, dict(getattr(self, name)))
        other.machine = machine = copy.copy(self.machine)
        same = {id(part): copy.copy(part) for part in (*machine.unfinished, *self.final)}
        other.final, other.shown = [same[id(part)] for part in self.final], list(self.shown)
        machine.final = []
        machine.unfinished = deque(same[id(part)] for part in machine.unfinished)
        machine.outgoing = deque(same[id(part)] for part in machine.outgoing)
        machine.showing = machine.showing and same[id(machine.showing)]
        return other

    def end(self, now: float) -> None:
        self.machine.stop(now)
        self.check(now)
        assert [part.number for part in self.final] == sorted(self.triggered), "a trigger without a verdict"
        assert not self.machine.outputs.results_ready
        assert not self.machine.outputs.trigger_ready


def key_of(watcher: Watcher, now: float) -> tuple[Any, ...]:
    machine = watcher.machine
    parts = [
        tuple((p.number, p.due, p.verdict, p.product) for p in queue)
        for queue in (machine.unfinished, machine.outgoing)
    ]
    shown = machine.showing and machine.showing.number
    times = (max(machine.shown_until, now) if shown else 0, max(machine.silent_until, now))
    final = tuple((part.number, part.verdict, part.product) for part in watcher.final)
    return (now, machine.number, machine.acknowledged, machine.product, shown, *times, *parts, final)


def following(watcher: Watcher, now: float, most: int, last_moment: int) -> Iterator[tuple[Watcher, float]]:
    def branch() -> Watcher:
        return watcher.copy()

    machine = watcher.machine
    if machine.number < most:
        after = branch()
        after.trigger(now)
        yield after, now
    for number in range(1, machine.number + 1):
        for verdict in ("accept", "reject"):
            after = branch()
            after.decide(number, verdict, now)  # type: ignore[arg-type]
            yield after, now
    after = branch()
    after.machine.acknowledge(not machine.acknowledged, now)
    after.check(now)
    yield after, now
    after = branch()
    indices = (*watcher.settings.products, 1 + max(watcher.settings.products))
    after.select(indices[(indices.index(machine.product) + 1) % len(indices)], now)
    yield after, now
    if now < last_moment:
        after = branch()
        after.machine.tick(now + 1)
        after.check(now + 1)
        yield after, now + 1


@pytest.mark.parametrize(
    ("gate", "acknowledge", "products", "deadline"),
    [
        (0, False, (0,), 3),
        (0, True, (0,), 3),
        (1, False, (0,), 3),
        (0, False, (0, 1), 1),
        pytest.param(0, False, (0, 1), 3, marks=pytest.mark.slow),
        pytest.param(0, True, (0, 1), 3, marks=pytest.mark.slow),
        pytest.param(1, False, (0, 1), 3, marks=pytest.mark.slow),
    ],
)
def test_all_orders_of_two_parts_in_flight(
    gate: int, acknowledge: bool, products: tuple[int, ...], deadline: int
) -> None:
    """Every state that two parts can reach by signals and time in any order; each is then ended.

    With two products the line selects one, the other, or one that is unknown, at any time.
    """
    agreed = HandshakeSettings(
        deadline=deadline,
        depth=2,
        gate=gate,
        acknowledge=acknowledge,
        hold=deadline - 1,
        gap=1,
        heartbeat=100,
        products=products,
    )
    last_moment = deadline + 2
    first = Watcher(agreed)
    seen, waiting = {key_of(first, 0)}, deque([(first, 0.0)])
    outcomes, changes = set(), set()
    while waiting:
        watcher, now = waiting.popleft()
        for after, later in following(watcher, now, 2, last_moment):
            key = key_of(after, later)
            if key not in seen:
                seen.add(key)
                waiting.append((after, later))
                ended = after.copy()
                ended.end(later)
                outcomes.add(tuple(part.verdict for part in ended.final))
                changes.add(tuple(part.product for part in ended.final))
    assert len(seen) > 500
    assert outcomes == {(), *((a,) for a in ("accept", "reject", "error"))} | {
        (a, b) for a in ("accept", "reject", "error") for b in ("accept", "reject", "error")
    }
    indices = [*products, 1 + max(products)]
    assert changes == {(), *((a,) for a in indices), *((a, b) for a in indices for b in indices)}


class AnyOrder(RuleBasedStateMachine):
    """Many parts, in any order of signals, with any agreement."""

    @initialize(
        gate=st.sampled_from([0, 0, 1, 3]), acknowledge=st.booleans(), depth=st.integers(1, 4), hold=st.floats(0.01, 3)
    )
    def begin(self, gate: int, acknowledge: bool, depth: int, hold: float) -> None:
        self.now = 0.0
        self.watcher = Watcher(
            HandshakeSettings(deadline=1, depth=depth, gate=gate, acknowledge=acknowledge, hold=hold, gap=0.02)
        )

    @rule()
    def trigger(self) -> None:
        self.watcher.trigger(self.now)

    @rule(back=st.integers(0, 5), verdict=st.sampled_from(DECISIONS))
    def decide(self, back: int, verdict: PartDecision) -> None:
        self.watcher.decide(self.watcher.machine.number - back, verdict, self.now)

    @rule(level=st.booleans())
    def acknowledge(self, level: bool) -> None:
        self.watcher.machine.acknowledge(level, self.now)
        self.watcher.check(self.now)

    @rule(index=st.integers(0, 1))
    def select(self, index: int) -> None:
        self.watcher.select(index, self.now)

    @rule(seconds=st.floats(0, 1.5))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.watcher.machine.tick(self.now)
        self.watcher.check(self.now)

    @rule()
    def wait_for_next_change(self) -> None:
        change = self.watcher.machine.next_change()
        assert change > self.watcher.machine.now
        self.wait(max(0.0, change - self.now))

    @invariant()
    def loses_no_part(self) -> None:
        if hasattr(self, "watcher"):
            watcher = self.watcher
            assert len(watcher.final) + len(watcher.machine.unfinished) == len(watcher.triggered)

    def teardown(self) -> None:
        if hasattr(self, "watcher"):
            self.watcher.end(self.now)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = hypothesis_settings(max_examples=25, stateful_step_count=40, deadline=None)


def test_result_is_shown_until_the_line_acknowledges_it() -> None:
    machine = Handshake(HandshakeSettings(acknowledge=True, hold=1.0))
    machine.trigger(0.0)
    machine.trigger(0.1)
    assert machine.outputs.busy
    assert not machine.outputs.results_ready
    machine.decide(2, "reject", "", 0.2)
    assert not machine.outputs.results_ready, "the first part has no verdict yet"
    machine.decide(1, "accept", "", 0.3)
    assert machine.outputs.ok
    assert machine.outputs.part == 1
    machine.acknowledge(True, 0.4)
    assert not machine.outputs.results_ready
    machine.acknowledge(False, 0.5)
    assert machine.outputs.ng
    assert machine.outputs.part == 2
    assert machine.unacknowledged == 0


def test_part_without_verdict_is_late_at_its_deadline() -> None:
    machine = Handshake(HandshakeSettings(deadline=0.5))
    machine.trigger(1.0)
    assert machine.next_change() <= 1.5
    machine.tick(1.5)
    (part,) = machine.take_final()
    assert (part.verdict, part.reason) == ("error", "late")
    assert machine.outputs.error
    assert not machine.decide(1, "accept", "", 1.6)


def test_result_waits_for_the_gate() -> None:
    machine = Handshake(HandshakeSettings(gate=2, deadline=10))
    for now in (0.0, 1.0):
        machine.trigger(now)
    machine.decide(1, "reject", "", 1.1)
    machine.decide(2, "accept", "", 1.2)
    assert not machine.outputs.results_ready
    machine.trigger(2.0)
    assert machine.outputs.ng
    machine.trigger(3.0)
    assert machine.outputs.ok
    machine.trigger(4.0)  # part 3 is at the gate, and has no verdict
    assert machine.outputs.error
    assert [part.reason for part in machine.take_final()] == ["", "", "late"]


def test_wrong_product_and_too_many_parts_are_errors() -> None:
    machine = Handshake(HandshakeSettings(depth=1, products=(7,)))
    machine.trigger(0.0)
    assert not machine.outputs.trigger_ready
    machine.trigger(0.1)
    machine.decide(1, "accept", "", 0.2)
    machine.select_product(3, 0.3)
    machine.trigger(0.4)
    machine.tick(0.5)
    assert [(part.verdict, part.reason) for part in machine.take_final()] == [
        ("accept", ""),
        ("error", "not_ready"),
        ("error", "unknown_product"),
    ]


def test_heartbeat_changes() -> None:
    machine = Handshake(HandshakeSettings(heartbeat=0.5))
    beats = []
    for step in range(8):
        machine.tick(step * 0.25)
        beats.append(machine.outputs.heartbeat)
    assert beats == [False, False, True, True, False, False, True, True]


def test_code_on_a_part_in_flight_names_its_product() -> None:
    machine = Handshake(HandshakeSettings(products=(1, 2), selected=1))
    for now in (0.0, 0.1, 0.2):
        machine.trigger(now)
    assert machine.assign_product(2, 2, 0.3)
    assert machine.assign_product(3, 7, 0.3)
    assert machine.product == 1, "the selection stays"
    machine.decide(1, "accept", "", 0.4)
    assert not machine.assign_product(1, 2, 0.5), "it has its verdict"
    machine.decide(2, "accept", "", 0.6)
    machine.tick(5.0)
    assert [(part.product, part.reason) for part in machine.take_final()] == [
        (1, ""),
        (2, ""),
        (7, "unknown_product"),
    ]


def test_no_product_is_selected_until_the_line_selects_one() -> None:
    machine = Handshake(HandshakeSettings(products=(1, 2), selected=65535))
    assert machine.outputs.product == 65535
    machine.trigger(0.0)
    machine.select_product(1, 0.1)
    machine.trigger(0.2)
    machine.decide(2, "reject", "", 0.3)
    assert [(part.product, part.reason) for part in machine.take_final()] == [(65535, "unknown_product"), (1, "")]
