"""Pictures of rejected parts, and what explains an alarm: written by a thread of their own, because no frame waits for
them.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

_MAX_QUEUED = 8  # pictures in memory; a line that rejects more than the disk takes keeps those that fit


class PartPictures(threading.Thread):
    """Does what writes pictures, one after the other."""

    def __init__(self) -> None:
        super().__init__(name="part-pictures", daemon=True)
        self.jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.dropped = 0
        """Since the start: no picture, because too many waited."""

    def enqueue(self, write: Callable[[], None]) -> None:
        """Queues what writes the picture of a part."""
        if self.jobs.qsize() < _MAX_QUEUED:
            self.jobs.put(write)
            return
        if not self.dropped:
            log.warning("a part or an alarm has no picture: %d others still have to be written", _MAX_QUEUED)
        self.dropped += 1

    def run(self) -> None:
        while (write := self.jobs.get()) is not None:
            write()

    def close(self) -> None:
        """Writes what is queued, then ends the thread."""
        self.jobs.put(None)
        if self.is_alive():
            self.join()
