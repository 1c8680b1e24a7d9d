"""What a box does with an order, from its payload to its outcome. `order_desk.py` runs it in a thread of the daemon.

An order that is sent again is not obeyed again: the answer is what became of it. An order that was cut off, by a power
cut or because the daemon took the new release, is judged by the release that is current afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from ...bundle.keys import Keyring
from ...bundle.signed_order import OrderRefused
from ...clock import Clock
from ...errors import Problem
from ...events.sinks import Command
from .order import Order, open_order
from .order_memory import KnownOrder, OrderMemory, Outcome

log = logging.getLogger(__name__)

LOCK_SECONDS = 3.0


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer to an order."""

    order: str
    """Its nonce; empty if it is not known whose order it is."""
    state: str
    """`refused`, `accepted`, `fetching`, `installing`; the end is `installed`, `applied`, `rolled back` or `failed`."""
    place: str
    product: str = ""
    release: int | None = None
    current: int | None = None
    """Release that is current now."""
    detail: str = ""
    known: bool = False
    """The order was known, and was not obeyed again."""
    pieces: tuple[int, ...] = ()
    """Pieces of the bundle that the box asks for."""
    camera: str = ""
    """Of an order for a configuration."""
    digest: str = ""
    """SHA-256 of the camera's file now."""
    clock: str = "unknown"
    """`synced`: the box has checked when the order expires."""


class Executor(Protocol):
    """Obeys orders."""

    def check(self, order: Order) -> None:
        """Raises OrderRefused if the box has no use for it."""

    def execute(self, order: Order, lock: int, report: Callable[[str, list[int]], None]) -> str:
        """Obeys an order; returns a detail for its outcome.

        Args:
            order: the order
            lock: descriptor that a child process must hold while it changes something
            report: takes a state and the pieces that are wanted

        Raises:
            Problem: it failed, and the box runs what it ran before.
        """

    def current(self, product: str) -> int | None:
        """The release that is current; None: the product is not installed."""


Answer = Callable[[Command | KnownOrder, Report], None]


class OrderHandler:
    """Handles orders, one at a time.

    Args:
        place: SITE/AREA/LINE/NAME of the box
        read_keyring: reads the trusted keys, for each order anew
        memory: orders that are known
        executor: obeys orders
        clock: tells whether an order has expired, if it is synchronized
        answer: sends a report to whoever gave an order
        record: stores kind and facts of an event
    """

    def __init__(
        self,
        place: str,
        read_keyring: Callable[[], Keyring],
        memory: OrderMemory,
        executor: Executor,
        clock: Clock,
        answer: Answer,
        record: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.place, self.read_keyring, self.memory, self.executor = place, read_keyring, memory, executor
        self.clock, self.answer, self.record = clock, answer, record

    def handle(self, command: Command) -> bool:
        """Obeys the order in a command; returns False if it was refused. Never raises on any payload."""
        order = None
        try:
            order = open_order(command.payload, self.read_keyring(), self.place)
            known = KnownOrder(order, command.reply_to[:500], command.correlation[:64])
            if not self._tell_known(order, command):
                self.executor.check(order)
                self._obey(known, command)
        except Problem as problem:
            log.warning("an order is refused: %s", problem.message)
            self.answer(command, self._report(order, "refused", problem.message))
            return False
        return True

    def recover(self) -> None:
        """Finds the outcomes of orders that were cut off.

        Raises:
            Problem: the disk does not take them.
        """
        if not self.memory.unfinished():
            return
        with self.memory.lock() as lock:
            if lock is None:
                return
            for known in self.memory.unfinished():
                self._finish(known, *self._judge(known.order))

    def _tell_known(self, order: Order, command: Command) -> bool:
        """Answers what became of an order, if it is known."""
        known = self.memory.find(order.nonce)
        if known is None:
            return False
        if known.order != order:
            raise OrderRefused("another order with this nonce is known")
        self.answer(command, self._report(order, known.outcome, known.detail, known=True))
        return True

    def _obey(self, known: KnownOrder, command: Command) -> None:
        order = known.order
        with self.memory.lock(LOCK_SECONDS) as lock:
            if self._tell_known(order, command):  # another daemon of this box was faster
                return
            if lock is None:
                raise OrderRefused("another order is being obeyed: send it again later")
            self.memory.claim(known, self.clock.wall_time() if self.clock.time_quality() == "synced" else None)
            log.info("order %s: %s release %d of %s", order.nonce, order.action, order.release, order.product)
            self.answer(known, self._report(order, "accepted"))
            self.record("accepted", self._facts(order))
            outcome: Outcome
            try:
                detail = self.executor.execute(
                    order, lock, lambda state, pieces: self.answer(known, self._report(order, state, "", pieces))
                )
                outcome = "installed" if order.action == "install" else "rolled back"
            except Problem as problem:
                outcome, detail = "failed", problem.message
            self._finish(known, outcome, detail)

    def _judge(self, order: Order) -> tuple[Outcome, str]:
        """The outcome of an order that was cut off."""
        is_current = self.executor.current(order.product) == order.release
        if order.action == "install":
            return ("installed", "the daemon ended meanwhile") if is_current else ("failed", "it was cut off")
        return ("failed", "it was cut off") if is_current else ("rolled back", "the daemon ended meanwhile")

    def _finish(self, known: KnownOrder, outcome: Outcome, detail: str) -> None:
        facts = self._facts(known.order) | {"current": self.executor.current(known.order.product), "detail": detail}
        self.record(outcome.replace(" ", "_"), facts)
        self.memory.finish(known.order.nonce, outcome, detail)
        self.answer(known, self._report(known.order, outcome, detail))

    @staticmethod
    def _facts(order: Order) -> dict[str, Any]:
        return {"order": order.nonce, "action": order.action, "product": order.product, "release": order.release}

    def _report(
        self, order: Order | None, state: str, detail: str = "", pieces: list[int] | None = None, known: bool = False
    ) -> Report:
        return Report(
            order=order.nonce if order else "",
            state=state,
            place=self.place,
            product=order.product if order else "",
            release=order.release if order else None,
            current=self.executor.current(order.product) if order else None,
            detail=detail[:500],
            known=known,
            pieces=tuple(pieces or ()),
            clock=self.clock.time_quality(),
        )
