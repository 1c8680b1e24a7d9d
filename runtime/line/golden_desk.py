"""Reference parts of a line: the check, what is kept of it, and who may command it (docs/golden-parts.md)."""

from __future__ import annotations

import threading
import time
from math import inf
from typing import Any

import msgspec

from ..config.configuration import Config
from ..events.golden_parts import GoldenPartResult
from ..events.outbox import Outbox
from ..events.part_verdict import PartKind, PartVerdict
from ..statistics.shift_calendar import Shift, ShiftCalendar
from .golden_check import GoldenCheck, Origin
from .golden_messages import GoldenCommand, GoldenStatus
from .golden_store import RULE, GoldenStore
from .handshake import Handshake
from .line_control import LineControl
from .line_products import LineProducts
from .verdict_recorder import VerdictRecorder

_NOT_JUDGED = ("stopped", "restart")
"""Reasons of errors that say nothing about the inspection."""
_LOCKS = {
    "references_due": "the output is locked: the reference parts are due",
    "reference_failed": "the output is locked: a reference part was judged wrong",
    "challenge_overdue": "the output is locked: the reference parts are overdue",
}


class GoldenDesk:
    """The reference parts of one camera. The caller holds the line's lock, but for `obey`.

    Args:
        settings: configuration of the camera
        products: of its line
        handshake: of its line
        recorder: takes the events
        outbox: keeps the state
        lock: of the line
    """

    def __init__(
        self,
        settings: Config,
        products: LineProducts,
        handshake: Handshake,
        recorder: VerdictRecorder,
        outbox: Outbox,
        lock: threading.Condition,
    ) -> None:
        self.products, self.handshake, self.recorder, self.lock = products, handshake, recorder, lock
        self.calendar, self.shift = ShiftCalendar.from_config(settings), Shift("", "", inf, -inf)
        self.settings, self.outbox = settings, outbox
        self.check: GoldenCheck | None = None
        """None: the camera has no `[golden_parts]`, or the desk is not open yet."""
        self.control: LineControl | None = None

    def open(self) -> None:
        """Reads what was kept, and takes commands; the recorder has recorded what an earlier process left."""
        if (golden_parts := self.settings.golden_parts) is None:
            return
        releases = {each.name: each.release for each in self.products.by_index.values() if each.judge is not None}
        states = GoldenStore(self.outbox).read(self.recorder.journal.notices.values())
        self.check = GoldenCheck(golden_parts, releases, states, self._emit)
        self._mark_failed()
        self.control = LineControl(self.settings.state_folder, self.obey)
        self.control.start()

    def close(self) -> None:
        """Takes no more commands."""
        if self.control is not None:
            self.control.close()

    def take(self, product: str, serial: str, moment: float) -> PartKind:
        """What a part that arrives is known to be; empty: no reference."""
        return "" if self.check is None else self.check.take(product, serial, moment)

    def find_refusal(self, product: str) -> str:
        """Why a part that is no reference is an error; empty: it is inspected."""
        if self.check is None:
            return ""
        self.follow()
        return self.check.find_refusal(product)

    def judge(self, verdict: PartVerdict) -> None:
        """The final verdict on a part."""
        if self.check is not None and verdict.reference and verdict.reason not in _NOT_JUDGED:
            self.check.judge(verdict, self.handshake.number, time.time(), self._shift_now())
            self._mark_failed()

    def follow(self) -> None:
        """Lets the time pass."""
        if self.check is not None:
            self.check.follow(self.handshake.number, time.time(), time.monotonic(), self._shift_now())

    def obey(self, command: GoldenCommand, user: str = "") -> GoldenStatus:
        """Obeys a command; any thread may call it.

        Args:
            command: the command
            user: of this device who gives it, or `key ID` of who signed it; empty: neither is known
        """
        with self.lock:
            product = self.products.describe(self.handshake.product)[0]
            if self.check is None:
                error = "the camera's file has no table [golden_parts]"
                return GoldenStatus(product, "", "", "", None, (), "", None, None, error)
            origin, error = Origin(command.by or user, user), ""
            if command.action == "begin":
                error = self.check.begin(product, origin, time.monotonic())
            elif command.action == "acknowledge":
                error = self.check.acknowledge(origin)
            self._mark_failed()
            self.lock.notify_all()
            return self._describe(self.check, product, error)

    def faults(self) -> dict[str, bool]:
        """Locks of the output, in words, with whether each is present."""
        if self.check is None:
            return {}
        several = len(self.check.states) > 1
        locks = [(f" ({name})" if several else "", state.lock) for name, state in self.check.states.items()]
        return {f"{_LOCKS[lock]}{name}": True for name, lock in locks if lock}

    def status(self) -> GoldenStatus | None:
        """Of the product that the line has selected; None: the camera has no `[golden_parts]`."""
        with self.lock:
            if self.check is None:
                return None
            return self._describe(self.check, self.products.describe(self.handshake.product)[0])

    def _describe(self, check: GoldenCheck, product: str, error: str = "") -> GoldenStatus:
        state, begun = check.states.get(product), check.announcement
        if state is None:
            return GoldenStatus(product, "", "", "", None, (), "", None, None, error)
        mine = begun is not None and begun.product == product
        result = () if mine else check.results.get(product, ())
        outcome = "" if not result else "passed" if all(each.is_right for each in result) else "failed"
        parts, seconds = check.parts_left(product, self.handshake.number), check.seconds_left(product, time.time())
        return GoldenStatus(
            product=product,
            lock=state.lock,
            due=state.due,
            unacknowledged=state.unacknowledged,
            awaited=len(begun.awaited) if mine and begun is not None else None,
            parts=result or tuple(check.judged[product]),
            outcome=outcome,  # type: ignore[arg-type]
            parts_left=None if parts == inf or state.due else int(parts),
            seconds_left=None if seconds == inf or state.due else round(seconds, 1),
            error=error,
        )

    def _emit(self, kind: str, facts: GoldenPartResult) -> None:
        built: dict[str, Any] = msgspec.to_builtins(facts)
        self.recorder.note(self.handshake.number, RULE, kind, built)

    def _mark_failed(self) -> None:
        """Tells the handshake of which products no part may pass, those in flight included."""
        states = {} if self.check is None else self.check.states
        failed = {name for name, state in states.items() if "failed" in state.due + state.unacknowledged}
        self.handshake.failed = {each.index for each in self.products.by_index.values() if each.name in failed}

    def _shift_now(self) -> str:
        now = time.time()
        if not self.shift.begins <= now < self.shift.ends:
            self.shift = self.calendar.find(now)
        return f"{self.shift.day} {self.shift.name}" if self.shift.name else ""
