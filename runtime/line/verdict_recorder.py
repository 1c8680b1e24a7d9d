"""Records the verdicts: first in the journal of parts, then, in a thread of its own, in the outbox.

So a slow disk delays no output. A verdict is an event like all others: it is delivered at least once, whatever happens
to the broker and the process.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ..errors import Problem
from ..events.event import SYSTEM_PRIORITY, SystemEvent, format_rfc3339, new_event_id
from ..events.outbox import Outbox
from ..events.part_verdict import PartVerdict
from .line_figures import VerdictCounts
from .part_journal import PartJournal

log = logging.getLogger(__name__)

RULE, KIND = "part", "verdict"
_BATCH = 100  # verdicts that are stored together if the disk is behind
_LAST_EVENTS = 1000  # of the outbox, searched at a start for verdicts that the journal does not know as stored


class VerdictRecorder:
    """Records the verdicts of one camera, in order.

    Args:
        camera: its name
        journal: the parts in flight
        outbox: receives the events
        wake: called when events were stored
        products: names of those whose verdicts are counted one by one
    """

    def __init__(
        self,
        camera: str,
        journal: PartJournal,
        outbox: Outbox,
        wake: Callable[[], None],
        products: Iterable[str],
    ) -> None:
        self.camera, self.journal, self.outbox, self.wake = camera, journal, outbox, wake
        self.counts = VerdictCounts()
        self.by_product = {name: VerdictCounts() for name in products}
        self.latencies = deque[float](maxlen=1000)
        """Milliseconds from trigger to output of the last parts."""
        self.problem: Problem | None = None
        """Why verdicts can no longer be stored."""
        self.pending: queue.SimpleQueue[tuple[int, SystemEvent] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="verdicts", daemon=True)

    def start(self) -> None:
        """Records what was in flight when the process ended, then begins."""
        self._store_again()
        now = time.time()
        for number, line in sorted(self.journal.undecided.items()):
            triggered = now if line.triggered is None else line.triggered
            verdict = PartVerdict(
                part=str(number),
                serial=line.serial,
                verdict="error",
                reason="restart",
                score=None,
                label="",
                regions=(),
                product=line.product,
                release=line.release,
                triggered=format_rfc3339(triggered),
                exposed="",
                decided=format_rfc3339(now),
                latency_ms=round(1000 * max(0.0, now - triggered), 3),
                reference=line.reference,
            )
            self.record(number, verdict, now)
        if self.journal.undecided:
            log.warning("%d parts were in flight when the daemon ended: errors", len(self.journal.undecided))
        self.thread.start()

    def _store_again(self) -> None:
        """Queues the verdicts that the process ended before storing."""
        if not self.journal.unstored and not self.journal.notices:
            return
        query = "SELECT body FROM events ORDER BY sequence DESC LIMIT ?"
        with self.outbox.transaction():
            rows = self.outbox.database.execute(query, (_LAST_EVENTS,)).fetchall()
        present = {_read_id(body) for (body,) in rows}
        for number, event in sorted(self.journal.unstored.items()):
            if event.id not in present:
                self.pending.put((number, event))
        for event in self.journal.notices.values():
            if event.id in present:
                self.journal.write_noted(event)
            else:
                self.pending.put((0, event))

    def record(self, number: int, verdict: PartVerdict, decided: float, event_id: str | None = None) -> None:
        """Records a verdict so that the end of the process does not lose it.

        Args:
            number: of the part
            verdict: on it
            decided: seconds since 1970, UTC
            event_id: of the event; None: a new one
        """
        facts: dict[str, Any] = msgspec.to_builtins(verdict)
        identifier = event_id or new_event_id()
        event = SystemEvent(identifier, self.camera, RULE, KIND, decided, facts, priority=SYSTEM_PRIORITY)
        self.journal.write_verdict(number, event)
        for counts in (self.counts, self.by_product.get(verdict.product)):
            if counts is not None:
                setattr(counts, verdict.verdict, getattr(counts, verdict.verdict) + 1)
        self.latencies.append(verdict.latency_ms)
        self.pending.put((number, event))

    def note(self, number: int, rule: str, kind: str, facts: dict[str, Any]) -> None:
        """Records another event of the line in the same way; `number`: of the last part."""
        event = SystemEvent(new_event_id(), self.camera, rule, kind, time.time(), facts, priority=SYSTEM_PRIORITY)
        told = ", ".join(f"{key} {value}" for key, value in facts.items() if value and key != "state")
        log.warning("%s %s: %s", rule, kind, told)
        self.journal.write_notice(number, event)
        self.pending.put((number, event))

    def check(self) -> None:
        """Raises the Problem because of which verdicts cannot be stored, if there is one."""
        if self.problem is not None:
            raise self.problem

    def close(self) -> None:
        """Stores what is pending, and ends."""
        self.pending.put(None)
        self.thread.join()
        self.journal.close()

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = [self.pending.get()]
            while len(batch) < _BATCH and not self.pending.empty():
                batch.append(self.pending.get())
            ended = None in batch
            verdicts = [each for each in batch if each is not None]
            if not verdicts or self.problem is not None:
                continue
            try:
                self.outbox.put(*(event for _, event in verdicts))
            except Problem as problem:
                self.problem = problem
                continue
            for _, event in verdicts:
                if event.rule != RULE:
                    self.journal.write_noted(event)
            if numbers := [number for number, event in verdicts if event.rule == RULE]:
                self.journal.write_stored(max(numbers))
            self.wake()


class _Identified(msgspec.Struct):
    id: str = ""


def _read_id(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Identified).id
    except ValueError:
        return ""
