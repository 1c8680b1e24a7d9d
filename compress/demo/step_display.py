"""What runs at present, shown while it runs: the step, how far it is, and how long it has taken.

At a terminal one line is rewritten twice a second. Elsewhere a line is added after two seconds of silence, then after
four, eight and so on, at most 30, so that a log stays short and is never silent for long.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, TextIO

_REFRESH_SECONDS = 0.5
_FIRST_SILENCE, _LONGEST_SILENCE = 2.0, 30.0
_CLEAR = "\r\x1b[2K"


class StepDisplay:
    """A context in which steps are shown; `log` and `progress` are what a build takes for them.

    Args:
        stream: a terminal or a file
    """

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self.stream, self.is_terminal = stream, stream.isatty()
        self.started = self.step_started = self.last_shown = time.monotonic()
        self.silence = _FIRST_SILENCE
        self.step, self.done, self.total = "", 0, 0
        self.lock = threading.RLock()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name="steps", daemon=True)

    def __enter__(self) -> StepDisplay:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        with self.lock:
            self._clear()

    def log(self, text: str) -> None:
        """Begins a step, and writes a line about it."""
        with self.lock:
            self._write_line(text)
            self._begin(text, 0)

    def progress(self, items: Iterable[Any], label: str) -> Iterable[Any]:
        """Yields `items`, and shows how many have been taken."""
        taken = list(items)
        before = self.step
        with self.lock:
            self._begin(label, len(taken))
        for number, item in enumerate(taken):
            self.done = number
            yield item
        with self.lock:
            self._begin(before, 0)

    def print(self, text: str) -> None:
        """Writes a line on stdout, between the lines about steps."""
        with self.lock:
            self._clear()
            print(text, flush=True)  # noqa: T201
            self.last_shown = time.monotonic()

    def _begin(self, step: str, total: int) -> None:
        self.step, self.done, self.total = step, 0, total
        self.step_started = time.monotonic()

    def _run(self) -> None:
        while not self.ended.wait(_REFRESH_SECONDS):
            with self.lock:
                self.refresh()

    def refresh(self) -> None:
        """Shows the present step if it is time."""
        now = time.monotonic()
        if not self.step or now - self.last_shown < (_FIRST_SILENCE if self.is_terminal else self.silence):
            return
        share = f" {self.done} of {self.total}," if self.total else ""
        text = f"{self.step}:{share} {now - self.step_started:.0f} s so far"
        if self.is_terminal:
            self.stream.write(f"{_CLEAR}{self._stamp()} {text}")
            self.stream.flush()
            return
        silence = self.silence
        self._write_line(text)
        self.silence = min(2 * silence, _LONGEST_SILENCE)

    def _write_line(self, text: str) -> None:
        self._clear()
        self.stream.write(f"{self._stamp()} {text}\n")
        self.stream.flush()
        self.last_shown, self.silence = time.monotonic(), _FIRST_SILENCE

    def _clear(self) -> None:
        if self.is_terminal:
            self.stream.write(_CLEAR)

    def _stamp(self) -> str:
        return f"[{time.monotonic() - self.started:5.1f} s]"
