"""What a daemon does with an order to change its camera's file: it asks for the change, and tells how it ended.

The daemon may not write the file. It merges the part of the order into the present file and leaves a request; whoever
applies it restarts the daemon. The next one finds the result, which has the order's nonce as its ID.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable

from ...bundle.keys import Keyring
from ...bundle.signed_order import OrderRefused
from ...clock import Clock
from ...config.configuration import Config
from ...config.installed_bundle import INSTALLED
from ...errors import ConfigProblem, MachineProblem, Problem
from ...events.sinks import Command
from ..camera_bundle import last_good_file
from ..orders.order_handler import LOCK_SECONDS, Report
from ..orders.order_memory import Known, Memory, Outcome
from .change_requests import is_waiting, read_result, request_change, requests_folder
from .configuration_order import ConfigurationOrder, check_signer, open_configuration_order
from .permitted_changes import BUNDLE, merge, read_text

log = logging.getLogger(__name__)

WAIT_SECONDS = 1200.0
"""So long a request may wait for whoever applies it."""

KnownConfiguration = Known[ConfigurationOrder]
Answer = Callable[[Command | KnownConfiguration, Report], None]


class ConfigurationHandler:
    """Handles the orders for one camera.

    Args:
        place: SITE/AREA/LINE/NAME of the box
        settings: configuration of the camera
        product: that it runs
        read_keyring: reads the trusted keys, for each order anew
        clock: tells whether an order has expired, if it is synchronized
        answer: sends a report to whoever gave an order
        ask: leaves a request, as `request_change`
    """

    def __init__(
        self,
        place: str,
        settings: Config,
        product: str,
        read_keyring: Callable[[], Keyring],
        clock: Clock,
        answer: Answer,
        ask: Callable[..., str] = request_change,
    ) -> None:
        self.place, self.settings, self.product = place, settings, product
        self.read_keyring, self.clock, self.answer, self.ask = read_keyring, clock, answer, ask
        self.is_busy = False
        """Whether an order waits for its result."""
        self.memory = Memory(settings.state, "configurations.json", ConfigurationOrder)

    def handle(self, command: Command) -> bool:
        """Takes the order in a command; returns False if it was refused. Never raises on any payload."""
        order = None
        try:
            keyring = self.read_keyring()
            order, signer = open_configuration_order(command.payload, keyring, self.place, self.product)
            if order.camera != self.settings.camera:
                return True  # the daemon of that camera takes it
            known = Known(order.shorten(), command.reply_to[:500], command.correlation[:64])
            if not self._tell_known(known.order, command):
                text = self._make_text(order, keyring, signer)
                self._ask(known, text, signer, command)
        except Problem as problem:
            log.warning("an order is refused: %s", problem.message)
            self.answer(command, self._report(order, "refused", problem.message))
            return False
        return True

    def recover(self) -> None:
        """Finds the outcomes of orders whose requests have a result.

        Raises:
            Problem: the disk does not take them.
        """
        mine = [known for known in self.memory.unfinished() if known.order.camera == self.settings.camera]
        found = [(known, end) for known in mine if (end := self._judge(known.order)) is not None]
        self.is_busy = bool(mine)
        if not found:
            return
        with self.memory.lock() as lock:
            if lock is None:
                return
            for known, (outcome, detail) in found:
                digest = self._digest() if outcome == "applied" else ""
                self.memory.finish(known.order.nonce, outcome, detail, digest)
                self.answer(known, self._report(known.order, outcome, detail))

    def _ask(self, known: KnownConfiguration, text: str, signer: str, command: Command) -> None:
        order = known.order
        with self.memory.lock(LOCK_SECONDS) as lock:
            if lock is None:
                raise OrderRefused("another order is being obeyed: send it again later")
            if self._tell_known(order, command):
                return
            if self.memory.find_where(lambda each: each.undo == order.nonce):
                raise OrderRefused("it was taken back before it came")
            self.memory.claim(known, self.clock.wall_time() if self.clock.time_quality() == "synced" else None)
        self.is_busy = True
        log.info("order %s: %s camera %s", order.nonce, order.action, order.camera)
        self.answer(known, self._report(order, "accepted"))
        folder = self.settings.device_file.parent
        try:
            self.ask(self.settings.state, order.camera, text, "fleet", signer, folder=folder, identity=order.nonce)
        except Problem as problem:
            with self.memory.lock(LOCK_SECONDS):
                self.memory.finish(order.nonce, "failed", problem.message)
            self.answer(known, self._report(order, "failed", problem.message))

    def _make_text(self, order: ConfigurationOrder, keyring: Keyring, signer: str) -> str:
        """The camera's file as the order wants it."""
        path = self.settings.camera_file
        try:
            if order.action == "configure":
                product = str(read_text(order.part, "the order").get(BUNDLE, "")).removeprefix(INSTALLED)
                if product:
                    check_signer(keyring, signer, product)
                return merge(path.read_text(encoding="utf-8-sig"), order.part, "the order")
            undone = self.memory.find(order.undo)
            if undone is not None and undone.outcome == "accepted":
                raise OrderRefused("the order that it takes back is being obeyed: send it again later")
            if undone is None or undone.outcome != "applied" or undone.digest != self._digest():
                return path.read_text(encoding="utf-8-sig")  # it is not as that order left it
            return last_good_file(path).read_text(encoding="utf-8-sig")
        except ConfigProblem as problem:
            raise OrderRefused(problem.message) from None
        except (OSError, UnicodeDecodeError) as error:
            raise MachineProblem(f"{path}: {error}") from None

    def _judge(self, order: ConfigurationOrder) -> tuple[Outcome, str] | None:
        """The outcome of an order; None: its request waits, or is being applied."""
        state = self.settings.state
        path = requests_folder(state) / f"{order.nonce}.json"
        if is_waiting(state, order.nonce):
            try:
                if time.time() - path.stat().st_mtime < WAIT_SECONDS:
                    return None
                path.unlink()
            except OSError:
                return None
            return "failed", "nobody applies requests: is vedette-configure.path enabled?"
        result = read_result(state, order.nonce)
        if result is None:
            return "failed", "it was cut off"
        if result.outcome != "applied":
            return "failed", result.reason
        return "applied" if order.action == "configure" else "rolled back", result.reason

    def _tell_known(self, order: ConfigurationOrder, command: Command) -> bool:
        """Answers what became of an order, if it is known."""
        known = self.memory.find(order.nonce)
        if known is None:
            return False
        if known.order != order:
            raise OrderRefused("another order with this nonce is known")
        self.answer(command, self._report(order, known.outcome, known.detail, known=True))
        return True

    def _digest(self) -> str:
        return digest_file(self.settings)

    def _report(self, order: ConfigurationOrder | None, state: str, detail: str = "", known: bool = False) -> Report:
        return Report(
            order=order.nonce if order else "",
            state=state,
            place=self.place,
            detail=detail[:500],
            known=known,
            camera=self.settings.camera,
            digest=self._digest(),
            clock=self.clock.time_quality(),
        )


def digest_file(settings: Config) -> str:
    """SHA-256 of a camera's file; empty if it cannot be read."""
    try:
        return hashlib.sha256(settings.camera_file.read_bytes()).hexdigest()
    except OSError:
        return ""
