"""A thread with an event loop of its own, for a library that needs one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any


class LoopThread(threading.Thread):
    """Runs one coroutine function until it ends, which looks at `stopping` whenever `changed` is set.

    Args:
        work: what runs
        name: of the thread
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.work, self.stopping = work, False
        self.loop, self.changed = asyncio.new_event_loop(), asyncio.Event()

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self.work())
        finally:
            self.loop.close()

    def wake(self) -> None:
        """Sets `changed`; any thread may call it."""
        with suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self.changed.set)

    def end(self, seconds: float) -> None:
        """Has the work end, and waits so long for it."""
        self.stopping = True
        if self.is_alive():
            self.wake()
            self.join(seconds)
