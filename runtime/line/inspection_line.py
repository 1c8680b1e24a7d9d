"""The line of one camera: triggers become parts, parts get pictures, verdicts go out in order.

    adapter's thread    trigger, acknowledge   -> handshake
    daemon's loop       picture -> inference -> judgement -> handshake
    this thread         time: deadlines, ends of results, heartbeat
    recorder's thread   verdicts -> outbox

One lock orders them. Nothing below it waits for a disk's sync, a network or the model, so a deadline is kept while the
model computes or the camera hangs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from ..config.configuration import Config
from ..config.product_table import NO_PRODUCT, reads_product
from ..events.outbox import Outbox
from .adapters import load_adapter
from .golden_desk import GoldenDesk
from .handshake import Handshake, Outputs
from .handshake_state import HandshakeSettings, Part
from .judgement import Judgement
from .line_products import LineProduct, LineProducts
from .part_facts import PartFacts
from .part_journal import JournalLine, PartJournal
from .picture_queue import PictureQueue
from .verdict_recorder import VerdictRecorder

_SHORTEST_WAIT = 0.0005


class InspectionLine:
    """The line of one camera.

    Args:
        settings: configuration of the camera, with `[trigger]`
        products: that it inspects
        outbox: receives the verdicts
        wake: called when verdicts were stored

    Raises:
        ConfigProblem: `trigger.source` is wrong.
    """

    def __init__(
        self, settings: Config, products: Iterable[LineProduct], outbox: Outbox, wake: Callable[[], None]
    ) -> None:
        trigger = settings.trigger
        assert trigger is not None
        self.products = LineProducts(products)
        selected = trigger.product_index
        tables = [each.settings for each in settings.products]
        if tables and selected is None and not reads_product(tables):
            selected = NO_PRODUCT  # what the line selected before this start is not known
        agreed = HandshakeSettings.from_trigger(trigger, self.products.indices, selected)
        self.adapter = load_adapter(settings)
        journal = PartJournal(settings.state_folder)
        self.recorder = VerdictRecorder(settings.camera, journal, outbox, wake, self.products.names)
        self.handshake = Handshake(agreed, journal.last_number, time.monotonic())
        self.pictures = PictureQueue(trigger.delay, trigger.pictures)
        self.facts: dict[int, PartFacts] = {}
        self.changed = threading.Condition(threading.RLock())
        self.golden = GoldenDesk(settings, self.products, self.handshake, self.recorder, outbox, self.changed)
        self.shown = Outputs()
        self.ended = self.closing = False
        self.thread = threading.Thread(target=self._keep_time, name="line", daemon=True)

    def start(self) -> None:
        """Records what an earlier process left, and listens to the line.

        Raises:
            MachineProblem: the adapter cannot listen.
        """
        self.recorder.start()
        with self.changed:
            self.golden.open()
        self.adapter.start(self)
        self.thread.start()

    def trigger(self, serial: str = "", at: float | None = None) -> int:
        """A part arrives; see `LineInputs`."""
        with self.changed:
            now = time.monotonic()
            moment = now if at is None else min(at, now)
            index = self.handshake.product
            product, release = self.products.describe(index)
            reference = self.golden.take(product, serial, now)
            refusal = self.products.find_refusal(index) or ("" if reference else self.golden.find_refusal(product))
            part = self.handshake.trigger(moment, serial, refusal, reference)
            facts = PartFacts(part, time.time() - (now - moment))
            self.facts[part.number] = facts
            self.recorder.journal.write_trigger(
                JournalLine(part.number, facts.triggered, serial, product, release, reference=reference)
            )
            if part.verdict is None:
                self.pictures.add(part.number, moment)
            self._follow()
            return part.number

    def miss(self, at: float | None = None) -> int:
        """A part that cannot be inspected; see `LineInputs`."""
        with self.changed:
            number = self.trigger(at=at)
            self.decide(number, Judgement("error", "lost"))
            return number

    def acknowledge(self, level: bool) -> None:
        """The level of the line's acknowledgment."""
        with self.changed:
            self.handshake.acknowledge(level, time.monotonic())
            self._follow()

    def select_product(self, index: int) -> None:
        """The product of the parts from the next trigger on."""
        with self.changed:
            self.handshake.select_product(index, time.monotonic())
            self._follow()

    def assign_product(self, number: int, index: int) -> None:
        """A code on a part in flight says which product it is, before its picture is judged.

        The product that the line has selected stays; `select_product` changes that of the parts to come.
        """
        with self.changed:
            self.handshake.assign_product(number, index, time.monotonic())
            locked = self.golden.find_refusal(self.products.describe(index)[0])
            if refusal := self.products.find_refusal(index) or locked:
                self.handshake.decide(number, "error", refusal, time.monotonic())
            self._follow()

    def product_of(self, number: int) -> int | None:
        """Product index of a part; None: it has its verdict."""
        with self.changed:
            facts = self.facts.get(number)
            return None if facts is None else facts.part.product

    def end(self) -> None:
        """No trigger will follow."""
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def claim(self, exposed: float, taken: float) -> int | None:
        """The part that a picture shows; None: nobody's. Parts that it proves to have been missed are errors.

        Args:
            exposed: moment of the exposure, `time.monotonic`
            taken: the same, seconds since 1970, UTC
        """
        with self.changed:
            number, missed = self.pictures.claim(exposed)
            for each in missed:
                self.decide(each, Judgement("error", "no_picture"))
            if number is not None:
                self.facts[number].exposed = taken
            return number

    def await_part(self, seconds: float) -> int | None:
        """Waits until a part is due to be taken a picture of, and returns it; None: none within `seconds`."""
        until = time.monotonic() + seconds
        with self.changed:
            while (now := time.monotonic()) < until and not (self.ended and not self.facts):
                ready = self.pictures.next_ready()
                if ready is not None and ready <= now:
                    number = self.pictures.claim_next()
                    assert number is not None
                    self.facts[number].exposed = time.time()
                    return number
                self.changed.wait(min(until, ready or until) - now)
        return None

    def name_part(self, number: int, serial: str) -> bool:
        """Gives a part its serial number; False if the line has given it another one."""
        with self.changed:
            facts = self.facts.get(number)
            if facts is None:
                return True
            facts.part.serial = facts.part.serial or serial
            return facts.part.serial == serial

    def event_of(self, number: int) -> str:
        """The id that the event of a part's verdict will have; empty: the part has its verdict."""
        with self.changed:
            return self.facts[number].event if number in self.facts else ""

    @property
    def is_over(self) -> bool:
        """True if no trigger will follow, and each part has its verdict."""
        with self.changed:
            return self.ended and not self.facts

    def decide(self, number: int, judgement: Judgement) -> None:
        """The judgement on a part."""
        with self.changed:
            if number in self.facts:
                self.facts[number].judgement = judgement
                self.handshake.decide(number, judgement.verdict, judgement.reason, time.monotonic())
                self._follow()

    def faults(self) -> dict[str, bool]:
        """The faults of the line, in words, with whether each is present. Any thread may call it."""
        fault = self.adapter.fault
        return {
            f"the line is not connected: {fault}": bool(fault),
            "parts in flight would be lost in a crash": bool(self.recorder.journal.fault),
            **self.golden.faults(),
        }

    def close(self) -> None:
        """Ends: parts in flight are errors."""
        with self.changed:
            self.handshake.stop(time.monotonic())
            self.closing = True
            self._follow()
        if self.thread.is_alive():
            self.thread.join()
        self.adapter.close()
        self.golden.close()
        if self.recorder.thread.is_alive():
            self.recorder.close()

    def _follow(self) -> None:
        """Records what became final, and then sets the outputs."""
        for part in self.handshake.take_final():
            self._record(part)
        if (outputs := self.handshake.outputs) != self.shown:
            self.shown = outputs
            self.adapter.show(outputs)
        self.changed.notify_all()

    def _record(self, part: Part) -> None:
        self.pictures.drop(part.number)
        decided = time.time()
        facts = self.facts.pop(part.number)
        verdict = facts.make_verdict(self.products, decided)
        self.recorder.record(part.number, verdict, decided, facts.event)
        self.golden.judge(verdict)

    def _keep_time(self) -> None:
        with self.changed:
            while not self.closing:
                self.handshake.tick(time.monotonic())
                self.golden.follow()
                if self.handshake.final or self.handshake.outputs != self.shown:
                    self._follow()
                left = self.handshake.next_change() - time.monotonic()
                self.changed.wait(max(left, _SHORTEST_WAIT))
