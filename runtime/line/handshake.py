"""The handshake with a line controller, as a pure state machine: no input or output, and the time is passed in.

    the line      trigger, acknowledge, product index
    this machine  trigger ready, busy, results ready, OK / NG / warn / error, part, heartbeat

Each trigger gets a number and exactly one final verdict, in the order of the triggers. A verdict is final once it can
be shown; so what the line saw and what is recorded are the same. A part that would pass (accept, warn) but cannot be
shown before its deadline is an error: late or unknown is never accept.

    gate = 0   a result is shown as soon as it is final and the one before has been taken away
    gate = N   a result is shown when the trigger of the part N places later comes: that part is now at the gate

With `acknowledge` a result stays until the line raises the signal, and the next one waits until the line has lowered
it, and at most `hold` seconds; without, it stays for `hold` seconds, and then nothing is shown for `gap` seconds, so
that the line sees an edge. A gate takes the result before it away at once, because its place on the belt is past.
"""

from __future__ import annotations

from collections import deque
from math import inf

import msgspec

from ..events.golden_parts import is_right
from ..events.part_verdict import PartDecision, PartKind
from .handshake_state import HandshakeSettings, Part

PASSING = ("accept", "warn")


class Outputs(msgspec.Struct, frozen=True):
    """The signals of the device."""

    trigger_ready: bool = False
    busy: bool = False
    results_ready: bool = False
    ok: bool = False
    ng: bool = False
    warn: bool = False
    error: bool = False
    heartbeat: bool = False
    part: int = 0
    """Number of the part whose result is shown; 0: none is shown."""
    product: int = 0
    """Product index of that part, otherwise the one that is selected."""


class Handshake:
    """The state machine. Times are seconds of one clock that never steps; they must not go back.

    Args:
        settings: what was agreed on
        last_number: number of the last part before the start
        now: time of the start
    """

    def __init__(self, settings: HandshakeSettings, last_number: int = 0, now: float = 0.0) -> None:
        self.settings, self.number = settings, last_number
        self.product = settings.products[0] if settings.selected is None else settings.selected
        self.unfinished: deque[Part] = deque()
        """Parts without a final verdict, oldest first."""
        self.outgoing: deque[Part] = deque()
        """Parts with a final verdict that was not shown yet, oldest first."""
        self.final: list[Part] = []
        """Parts whose verdict became final since `take_final`."""
        self.showing: Part | None = None
        self.shown_until = self.silent_until = -inf
        self.acknowledged = False
        self.unacknowledged = 0
        """Results that were taken away before the line had acknowledged them."""
        self.failed: set[int] = set()
        """Products of which a reference was judged wrong: no part of them passes any more."""
        self.stopped = False
        self.now = now

    def select_product(self, index: int, now: float) -> None:
        """The line selects the product of the parts from the next trigger on."""
        self.tick(now)
        self.product = index

    def assign_product(self, number: int, index: int, now: float) -> bool:
        """A code on a part in flight says which product it is; False, and nothing changes: it has its verdict."""
        self.tick(now)
        part = self._find_undecided(number)
        if part is None:
            return False
        part.product = index
        if index not in self.settings.products:
            part.verdict, part.reason = "error", "unknown_product"
        self._advance()
        return True

    def trigger(self, now: float, serial: str = "", refusal: str = "", expected: PartKind = "") -> Part:
        """A part arrives; one that cannot be inspected has its verdict, an error, at once.

        Args:
            now: the moment
            serial: its serial number, if known
            refusal: why the device cannot inspect it, although the handshake would allow it; empty: it can
            expected: what a reference part is known to be
        """
        self.tick(now)
        self.number += 1
        part = Part(self.number, now, now + self.settings.deadline, self.product, serial, expected=expected)
        if self.stopped:
            part.verdict, part.reason = "error", "stopped"
        elif len(self.unfinished) >= self.settings.depth:
            part.verdict, part.reason = "error", "not_ready"
        elif self.product not in self.settings.products:
            part.verdict, part.reason = "error", "unknown_product"
        elif refusal:
            part.verdict, part.reason = "error", refusal
        if self.settings.gate:
            self._open_gate(self.number - self.settings.gate)
        self.unfinished.append(part)
        self._advance()
        return part

    def decide(self, number: int, verdict: PartDecision, reason: str, now: float) -> bool:
        """The verdict on a part; False, and nothing changes, if it comes too late, a second time, or for no part."""
        self.tick(now)
        part = self._find_undecided(number)
        if part is None:
            return False
        part.verdict, part.reason = verdict, reason
        self._advance()
        return True

    def acknowledge(self, level: bool, now: float) -> None:
        """The level of the line's acknowledgment: it rises when the line has read a result, and falls afterwards."""
        self.tick(now)
        rising, self.acknowledged = level and not self.acknowledged, level
        if rising and self.settings.acknowledge and self.showing is not None:
            self.showing = None
        self._advance()

    def tick(self, now: float) -> None:
        """Lets the time pass."""
        self.now = max(now, self.now)
        if self.showing is not None and self.now >= self.shown_until:
            self._withdraw()
        self._advance()

    def stop(self, now: float) -> None:
        """Ends: each part without a verdict is an error, nothing is shown, and no part is accepted from now on."""
        self.tick(now)
        self.stopped = True
        for part in self.unfinished:
            if part.verdict is None or part.verdict in PASSING:
                part.verdict, part.reason = "error", "stopped"
        while self.unfinished:
            self._finish()
        self.showing = None
        self.outgoing.clear()

    def take_final(self) -> list[Part]:
        """The parts whose verdict became final since the last call, in order."""
        final, self.final = self.final, []
        return final

    def next_change(self) -> float:
        """When `tick` has something to do at the latest."""
        beat = self.settings.heartbeat
        times = [(self.now // beat + 1) * beat]
        times += [part.due for part in self.unfinished if part.due > self.now]
        if self.showing is not None:
            times.append(self.shown_until)
        elif self.outgoing or self.unfinished:
            times.append(self.silent_until if self.silent_until > self.now else inf)
        return min(times)

    @property
    def outputs(self) -> Outputs:
        """The signals now."""
        shown, verdict = self.showing, None if self.showing is None else self.showing.verdict
        return Outputs(
            trigger_ready=not self.stopped and len(self.unfinished) < self.settings.depth,
            busy=bool(self.unfinished),
            results_ready=shown is not None,
            ok=verdict == "accept",
            ng=verdict == "reject",
            warn=verdict == "warn",
            error=verdict == "error",
            heartbeat=not self.stopped and int(self.now // self.settings.heartbeat) % 2 == 1,
            part=0 if shown is None else shown.number,
            product=self.product if shown is None else shown.product,
        )

    def _find_undecided(self, number: int) -> Part | None:
        part = next((each for each in self.unfinished if each.number == number), None)
        return part if part is not None and part.verdict is None else None

    def _advance(self) -> None:
        """Finishes and shows what can be, in order."""
        while True:
            if not self.settings.gate and self.outgoing and self._is_free():
                self._show(self.outgoing.popleft())
            elif self.unfinished and self._can_finish(self.unfinished[0]):
                self._finish()
            else:
                return

    def _can_finish(self, part: Part) -> bool:
        if self.now >= part.due:
            return True
        if part.verdict is None:
            return False
        return bool(self.settings.gate) or part.verdict not in PASSING or (self._is_free() and not self.outgoing)

    def _finish(self) -> None:
        """Makes the verdict of the oldest part final; what passes is late from its deadline on."""
        part = self.unfinished.popleft()
        if part.verdict is None or (part.verdict in PASSING and self.now >= part.due):
            part.verdict, part.reason = "error", "late"
        if part.product in self.failed and not part.expected and part.verdict in PASSING:
            part.verdict, part.reason = "error", "reference_failed"
        if part.expected and not is_right(part.expected, part.verdict):
            self.failed.add(part.product)
        part.finished = self.now
        self.final.append(part)
        self.outgoing.append(part)
        if not self.settings.gate and len(self.outgoing) > self.settings.depth:
            self.outgoing.popleft()  # the line takes no results
            self.unacknowledged += 1

    def _open_gate(self, number: int) -> None:
        """The part `number` is at the gate: its result is shown now, whatever is missing."""
        while self.unfinished and self.unfinished[0].number <= number:
            self.unfinished[0].due = min(self.unfinished[0].due, self.now)
            self._finish()
        while self.outgoing and self.outgoing[0].number <= number:
            part = self.outgoing.popleft()
            if part.number == number:
                if self.showing is not None:
                    self._withdraw()
                self._show(part)

    def _is_free(self) -> bool:
        waits = self.settings.acknowledge and self.acknowledged
        return self.showing is None and not waits and self.now >= self.silent_until

    def _show(self, part: Part) -> None:
        self.showing, self.shown_until = part, self.now + self.settings.hold

    def _withdraw(self) -> None:
        self.showing = None
        self.unacknowledged += self.settings.acknowledge
        self.silent_until = self.now + self.settings.gap
