"""An audit or a build beside the page: a process group of its own, its log in a file, and the way to end it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from vedette.runtime.errors import ConfigProblem
from vedette.runtime.progress import LINES_VARIABLE

_GRACE_SECONDS = 10.0
_COUNTED = re.compile(r"progress: (?P<label>.*) (?P<done>\d+) of (?P<total>\d+)\Z")
_STEP = re.compile(r"\[\s*(?P<seconds>[\d.]+) s\] (?P<text>.*)\Z")


class Step(msgspec.Struct, frozen=True):
    """A line of the log."""

    text: str
    seconds: float | None
    """Since the start; None: the line does not say it."""


class ProcessProgress(msgspec.Struct, frozen=True):
    """What a process has said so far."""

    steps: list[Step]
    counted: tuple[str, int, int] | None
    """The loop that runs: its label, how many items are done, and of how many."""


class WorkshopProcess:
    """A command of Vedette that runs."""

    def __init__(
        self, kind: str, arguments: Sequence[str], folder: Path, log: Path, out: Path, finish: Callable[[int], None]
    ) -> None:
        self.kind, self.log, self.started = kind, log, time.time()
        self.is_cancelled = False
        self._finish = finish
        environment = os.environ | {LINES_VARIABLE: "1", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "vedette.runtime.cli", *arguments]
        with log.open("wb") as errors, out.open("wb") as results:
            self.process = subprocess.Popen(  # noqa: S603  # this program, with arguments that the page made
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=results,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        self.thread = threading.Thread(target=self._wait, daemon=True)
        self.thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, or its results are not yet stored."""
        return self.thread.is_alive()

    def _wait(self) -> None:
        self._finish(self.process.wait())

    def cancel(self) -> None:
        """Ends it, and everything that it started."""
        if not self.is_running:
            return
        self.is_cancelled = True
        self._signal(signal.SIGINT)  # so that it removes its temporary files
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_GRACE_SECONDS)
        self._signal(signal.SIGKILL)  # it is busy, or what it started outlives it
        self.thread.join(_GRACE_SECONDS)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class ProcessSlot:
    """Room for one process: the cores are few, and two would take twice as long."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.current: WorkshopProcess | None = None

    @property
    def running(self) -> WorkshopProcess | None:
        """The process that runs; None: there is none."""
        return self.current if self.current is not None and self.current.is_running else None

    def start(
        self, kind: str, arguments: Sequence[str], folder: Path, log: Path, out: Path, finish: Callable[[int], None]
    ) -> None:
        """Starts a process.

        Args:
            kind: "audit" or "build"
            arguments: of the command `vedette`
            folder: the working folder
            log: gets its standard error
            out: gets its standard output
            finish: told its exit code

        Raises:
            ConfigProblem: one runs already.
        """
        with self.lock:
            if self.running is not None:
                raise ConfigProblem("an audit or a build runs already", hint="wait for it, or cancel it")
            self.current = WorkshopProcess(kind, arguments, folder, log, out, finish)

    def stop(self) -> None:
        """Ends the process that runs, if any."""
        if (running := self.running) is not None:
            running.cancel()


def read_progress(log: Path) -> ProcessProgress:
    """What a log says so far; counted loops are no steps."""
    steps: list[Step] = []
    counted = None
    text = log.read_text(errors="replace") if log.exists() else ""
    for line in text.splitlines():
        if (found := _COUNTED.match(line)) is not None:
            done, total = int(found["done"]), int(found["total"])
            counted = (found["label"], done, total) if done < total else None
        elif (step := _STEP.match(line)) is not None:
            steps.append(Step(step["text"], float(step["seconds"])))
            counted = None
        elif line.strip():
            steps.append(Step(line.strip(), None))
    return ProcessProgress(steps, counted)
