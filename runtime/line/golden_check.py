"""The check by reference parts, as a pure state machine: no input or output, and the time is passed in.

    due, not acknowledged    locked: every part but a reference is an error
    due, acknowledged        locked, until the references have passed
    neither                  the line runs

The references of a product are due at the first start, at the beginning of a shift, with another release, and when
somebody asks for them: once a check has begun, only its success frees the line. A reference that is judged wrong, and
a check that came too late (so many parts or hours after the last one), also wait for somebody to acknowledge.

References are the next parts after the announcement, the good ones first; or parts whose serial number is listed,
whenever they come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

import msgspec
from msgspec.structs import replace

from ..config.golden_part_table import GoldenPartSettings
from ..events.golden_parts import Due, GoldenPart, GoldenPartResult, GoldenState
from ..events.part_verdict import PartKind, PartVerdict

PATIENCE_SECONDS = 900.0
"""A check in which no reference comes for so long has ended; the references stay due."""
Emit = Callable[[str, GoldenPartResult], None]


class Announcement(msgspec.Struct):
    """A check that somebody has begun."""

    product: str
    by: str
    user: str
    awaited: list[PartKind]
    """References that were not triggered yet."""
    latest: float
    """Moment of the last step, seconds of a clock that never steps."""


class Origin(msgspec.Struct, frozen=True):
    """Who gave a command."""

    by: str
    user: str = ""


class GoldenCheck:
    """The references of all products of a line. Not thread-safe.

    Args:
        settings: `[golden_parts]`
        releases: of the products, by name
        states: what was kept of them
        emit: takes kind and facts of an event, which also keeps the state
    """

    def __init__(
        self, settings: GoldenPartSettings, releases: Mapping[str, str], states: Mapping[str, GoldenState], emit: Emit
    ) -> None:
        self.settings, self.releases, self.emit = settings, releases, emit
        self.states = {name: states.get(name, GoldenState()) for name in releases}
        self.announcement: Announcement | None = None
        self.judged: dict[str, list[GoldenPart]] = {name: [] for name in releases}
        """References of the check that is under way, right so far."""
        self.results: dict[str, tuple[GoldenPart, ...]] = {}
        """Those of the last check that has ended."""
        for name, state in list(self.states.items()):
            if name not in states:
                self._lock(name, "start")
            elif not state.due and state.release != releases[name]:
                self._lock(name, "release")

    def find_refusal(self, product: str) -> str:
        """Why a part of a product that is no reference is an error; empty: it is inspected."""
        return self.states[product].lock if product in self.states else ""

    def take(self, product: str, serial: str, moment: float) -> PartKind:
        """What a part that arrives is: a reference, known to be good or bad; empty: none."""
        if product not in self.states:
            return ""
        if self.settings.serials:
            return self.settings.expected_of(serial)
        begun = self.announcement
        if begun is None or begun.product != product or not begun.awaited:
            return ""
        begun.latest = moment
        return begun.awaited.pop(0)

    def judge(self, verdict: PartVerdict, number: int, now: float, shift: str) -> None:
        """The final verdict on a reference.

        Args:
            verdict: the verdict
            number: of the last part that was triggered
            now: seconds since 1970, UTC
            shift: day and name of the shift
        """
        name = verdict.product
        if verdict.reference == "" or name not in self.states:
            return
        fields = ("part", "serial", "verdict", "reason", "score")
        part = GoldenPart(expected=verdict.reference, **{each: getattr(verdict, each) for each in fields})
        if not self.settings.serials and self.announcement is None and part.is_right:
            return  # of a check that has ended already
        parts = [each for each in self.judged[name] if not part.serial or each.serial != part.serial] + [part]
        if not part.is_right:
            state = replace(self.states[name], due="failed", unacknowledged="reference_failed")
            self._end("failed", name, state, "failed", parts)
        elif len(parts) == self.settings.count("good") + self.settings.count("bad"):
            state = replace(
                self.states[name],
                due="",
                passed=now,
                part=number,
                shift=shift,
                release=self.releases[name],
            )
            self._end("passed", name, state, self.states[name].due, parts)
        else:
            self.judged[name] = parts

    def begin(self, product: str, origin: Origin, moment: float) -> str:
        """Somebody announces the references of a product; returns what is wrong, empty: nothing."""
        if product not in self.states:
            return "the line has selected no product that is loaded"
        if self.settings.serials:
            return ""  # their numbers tell which parts they are
        good, bad = self.settings.count("good"), self.settings.count("bad")
        awaited: list[PartKind] = [*["good"] * good, *["bad"] * bad]  # type: ignore[list-item]
        self.announcement = Announcement(product, origin.by, origin.user, awaited, moment)
        self.judged[product] = []
        self.results.pop(product, None)
        state = self.states[product]
        self._change("begun", product, replace(state, due=state.due or "asked"), state.due or "asked", origin)
        return ""

    def acknowledge(self, origin: Origin) -> str:
        """Somebody acknowledges what failed or was overdue; returns what is wrong, empty: nothing."""
        if not origin.by.strip():
            return "nobody is named who acknowledges"
        waiting = [(name, state) for name, state in self.states.items() if state.unacknowledged]
        for name, state in waiting:
            self._change("acknowledged", name, replace(state, unacknowledged=""), state.unacknowledged, origin)
        return "" if waiting else "nothing waits to be acknowledged"

    def follow(self, number: int, now: float, moment: float, shift: str) -> None:
        """Lets time and parts pass; arguments as of `judge`, and the moment of a clock that never steps."""
        if self.announcement is not None and moment - self.announcement.latest > PATIENCE_SECONDS:
            self.judged[self.announcement.product] = []
            self.announcement = None
        for name, state in self.states.items():
            if state.due:
                continue
            if self.settings.each_shift and shift not in ("", state.shift):
                self._lock(name, "shift")
            elif self.parts_left(name, number) <= 0:
                self._lock(name, "parts", overdue=True)
            elif self.seconds_left(name, now) <= 0:
                self._lock(name, "hours", overdue=True)

    def parts_left(self, product: str, number: int) -> float:
        """How many more parts may pass until the references are overdue."""
        most = self.settings.most_parts
        return inf if most is None else most - (number - self.states[product].part)

    def seconds_left(self, product: str, now: float) -> float:
        """How much time may pass until then; a clock that was set to before the last check leaves none."""
        passed, most = self.states[product].passed, self.settings.most_seconds
        if most is None:
            return inf
        return most - (now - passed) if now >= passed - 60 else 0.0

    def _lock(self, name: str, why: Due, overdue: bool = False) -> None:
        state = replace(self.states[name], due=why)
        if overdue:
            state = replace(state, unacknowledged="challenge_overdue")
        self._change("locked", name, state, why)

    def _end(self, kind: str, name: str, state: GoldenState, why: str, parts: list[GoldenPart]) -> None:
        begun = self.announcement if self.announcement and self.announcement.product == name else None
        origin = Origin(begun.by, begun.user) if begun else Origin("")
        self.results[name], self.judged[name] = tuple(parts), []
        if begun:
            self.announcement = None
        self._change(kind, name, state, why, origin, tuple(parts))

    def _change(
        self,
        kind: str,
        name: str,
        state: GoldenState,
        why: str,
        origin: Origin = Origin(""),  # noqa: B008
        parts: tuple[GoldenPart, ...] = (),
    ) -> None:
        self.states[name] = state
        facts = GoldenPartResult(name, self.releases[name], state.lock, why, origin.by, origin.user, parts, state)
        self.emit(kind, facts)
