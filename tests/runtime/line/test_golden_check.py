"""Reference parts: the line runs only if they were judged right, and in time."""

from __future__ import annotations

from typing import Any

import pytest
from verdicts import make_verdict

from vedette.runtime.config.golden_part_table import GoldenPartSettings
from vedette.runtime.events.golden_parts import GoldenPartResult, GoldenState
from vedette.runtime.events.part_verdict import PartVerdict
from vedette.runtime.line.golden_check import PATIENCE_SECONDS, GoldenCheck, Origin
from vedette.runtime.line.handshake import Handshake
from vedette.runtime.line.handshake_state import HandshakeSettings

KIM = Origin("Kim", "root")
SHIFT = "2026-11-29 early"


class Line:
    """A line in front of the check, which starts again as often as it must."""

    def __init__(self, settings: GoldenPartSettings, *products: str) -> None:
        self.settings, self.releases = settings, dict.fromkeys(products or ("cells",), "3")
        self.kept: dict[str, GoldenState] = {}
        self.events: list[tuple[str, GoldenPartResult]] = []
        self.number, self.now, self.shift = 0, 1000.0, SHIFT
        self.start()

    def start(self) -> None:
        self.check = GoldenCheck(self.settings, self.releases, dict(self.kept), self.emit)

    def emit(self, kind: str, facts: GoldenPartResult) -> None:
        self.events.append((kind, facts))
        self.kept[facts.product] = facts.state

    def follow(self) -> None:
        self.check.follow(self.number, self.now, self.now, self.shift)

    def part(self, verdict: str, serial: str = "", product: str = "cells", reason: str = "") -> str:
        """A part comes and gets its verdict; returns what the line sees."""
        self.number += 1
        self.follow()
        reference = self.check.take(product, serial, self.now)
        if not reference and (refusal := self.check.find_refusal(product)):
            return refusal
        facts: dict[str, Any] = make_verdict(self.now, verdict, part=str(self.number), serial=serial).facts
        judged = PartVerdict(**facts | {"product": product, "reference": reference, "reason": reason, "regions": ()})
        self.check.judge(judged, self.number, self.now, self.shift)
        return verdict

    def pass_references(self) -> None:
        assert self.check.begin("cells", KIM, self.now) == ""
        for verdict in ("accept", "reject"):
            self.part(verdict)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]


def test_line_runs_only_after_its_references_have_passed() -> None:
    line = Line(GoldenPartSettings())
    assert line.part("accept") == "references_due"
    line.pass_references()
    assert line.part("accept") == "accept"
    line.start()
    assert line.part("accept") == "accept", "a restart forgot that they have passed"
    assert line.kinds == ["locked", "begun", "passed"]
    begun, passed = line.events[1][1], line.events[2][1]
    assert (begun.why, begun.by, begun.user, begun.lock) == ("start", "Kim", "root", "references_due")
    assert [(each.expected, each.verdict) for each in passed.parts] == [("good", "accept"), ("bad", "reject")]
    assert passed.lock == ""


@pytest.mark.parametrize("verdicts", [["warn"], ["error"], ["reject"], ["accept", "accept"], ["accept", "error"]])
def test_wrong_reference_locks_until_acknowledged_and_passed(verdicts: list[str]) -> None:
    line = Line(GoldenPartSettings())
    line.pass_references()
    line.check.begin("cells", KIM, line.now)
    for verdict in verdicts:
        line.part(verdict)
    assert line.kinds[-1] == "failed"
    assert line.part("accept") == "reference_failed"
    line.start()
    assert line.part("accept") == "reference_failed", "a restart forgot the lock"
    assert line.check.acknowledge(Origin(" ")) != ""
    assert line.check.acknowledge(KIM) == ""
    assert (line.events[-1][0], line.events[-1][1].by) == ("acknowledged", "Kim")
    assert line.part("accept") == "references_due", "to acknowledge is not to pass"
    line.pass_references()
    assert line.part("accept") == "accept"
    assert line.check.acknowledge(KIM) == "nothing waits to be acknowledged"


def test_passing_does_not_acknowledge() -> None:
    line = Line(GoldenPartSettings())
    line.check.begin("cells", KIM, line.now)
    line.part("reject")
    line.pass_references()
    assert line.part("accept") == "reference_failed"
    line.check.acknowledge(KIM)
    assert line.part("accept") == "accept"


def test_new_shift_locks() -> None:
    line = Line(GoldenPartSettings())
    line.pass_references()
    line.shift = ""
    assert line.part("accept") == "accept", "between two shifts"
    line.shift = "2026-11-29 late"
    assert line.part("accept") == "references_due"
    assert line.events[-1][1].why == "shift"
    line.pass_references()
    assert line.part("accept") == "accept"


@pytest.mark.parametrize(("every", "why"), [("4 parts", "parts"), ("2 h", "hours")])
def test_overdue_challenge_locks_until_acknowledged(every: str, why: str) -> None:
    line = Line(GoldenPartSettings(every=(every,)))
    line.pass_references()
    line.now += 7000 if why == "hours" else 0
    assert [line.part("accept") for _ in range(3)] == ["accept"] * 3
    line.pass_references()  # in time: the count begins again
    line.now += 7000 if why == "hours" else 0
    assert [line.part("accept") for _ in range(3)] == ["accept"] * 3
    line.now += 300
    assert line.part("accept") == "challenge_overdue"
    assert line.events[-1][1].why == why
    line.pass_references()
    assert line.part("accept") == "challenge_overdue"
    line.check.acknowledge(KIM)
    assert line.part("accept") == "accept"


def test_clock_that_was_set_back_gives_no_more_time() -> None:
    line = Line(GoldenPartSettings(every=("2 h",)))
    line.pass_references()
    line.now -= 3600
    assert line.part("accept") == "challenge_overdue"


def test_other_release_locks() -> None:
    line = Line(GoldenPartSettings(every=()))
    line.pass_references()
    line.releases["cells"] = "4"
    line.start()
    assert line.part("accept") == "references_due"
    assert line.events[-1][1].why == "release"


def test_listed_serial_numbers_are_references_whenever_they_come() -> None:
    line = Line(GoldenPartSettings(good=("G-1", "G-2"), bad=("B-1",)))
    assert line.part("accept", "A-1") == "references_due"
    for verdict, serial in (("reject", "B-1"), ("accept", "G-1"), ("accept", "G-1"), ("accept", "G-2")):
        assert line.part(verdict, serial) == verdict
    assert line.kinds == ["locked", "passed"]
    assert len(line.events[-1][1].parts) == 3
    assert line.part("accept", "A-2") == "accept"
    assert line.part("accept", "G-1") == "accept"
    assert line.part("accept", "A-3") == "accept", "a check between the parts stops nothing"
    line.part("accept", "B-1")
    assert line.part("accept", "A-4") == "reference_failed"


def test_begun_check_frees_the_line_by_its_success_alone() -> None:
    line = Line(GoldenPartSettings())
    line.pass_references()
    line.check.begin("cells", KIM, line.now)
    line.now += PATIENCE_SECONDS + 1
    assert line.part("accept") == "references_due"
    assert line.events[-1][1].why == "asked"


def test_lock_of_one_product_stops_no_other() -> None:
    line = Line(GoldenPartSettings(), "cells", "doors")
    line.pass_references()
    assert line.part("accept") == "accept"
    assert line.part("accept", product="doors") == "references_due"
    assert line.part("accept", product="index 9") == "accept", "the handshake refuses it"
    assert line.check.begin("index 9", KIM, line.now) != ""


def test_parts_in_flight_do_not_pass_when_a_reference_fails() -> None:
    """Even if both verdicts become final in one step."""
    machine = Handshake(HandshakeSettings(deadline=1.0, gate=5))
    machine.trigger(0.0, expected="good")
    for number in (2, 3):
        machine.trigger(0.1)
        machine.decide(number, "accept", "", 0.2)
    machine.tick(1.0)  # the reference is late
    assert [(part.verdict, part.reason) for part in machine.take_final()] == [
        ("error", "late"),
        ("error", "reference_failed"),
        ("error", "reference_failed"),
    ]


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [(1, (), "both as numbers"), (0, 1, "at least one"), ((), ("B",), "at least one"), (("A",), ("A",), "twice")],
)
def test_mistake_in_the_table_is_told(good: Any, bad: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GoldenPartSettings(good=good, bad=bad)
