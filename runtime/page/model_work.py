"""Installations and rollbacks that the page starts: `vedette install` and `vedette rollback`, one at a time.

They are processes of their own. So the page neither opens a bundle nor loads what verifies it, and does what an
operator would do at the box.
"""

from __future__ import annotations

import secrets
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from ..errors import ConfigProblem, MachineProblem
from ..installation.child_command import read_problem, start_command

WORK_SECONDS = 900.0
_BUSY = "an installation or a rollback runs already"


class WorkResult(msgspec.Struct, frozen=True):
    """How a command ended."""

    code: int
    """Exit code: 0, or that of a Problem."""
    output: str
    """What it printed."""
    message: str = ""
    """Why it failed."""
    remedy: str = ""


class ModelWork:
    """The commands of a page; the result of the last one is kept."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.identity = ""
        self.result: WorkResult | None = None

    def start(self, arguments: Sequence[str], folder: Path, finish: Callable[[], None]) -> str:
        """Starts a command and does not wait for it; returns its ID.

        Args:
            arguments: of `vedette`
            folder: with vedette.toml
            finish: called when it has ended

        Raises:
            ConfigProblem: one runs already.
        """
        if not self.lock.acquire(blocking=False):
            raise ConfigProblem(_BUSY)
        self.identity, self.result = secrets.token_hex(16), None
        threading.Thread(target=self._work, args=(arguments, folder, finish), daemon=True).start()
        return self.identity

    def run(self, arguments: Sequence[str], folder: Path) -> WorkResult:
        """Runs a command that changes nothing.

        Raises:
            ConfigProblem: one runs already.
        """
        if not self.lock.acquire(blocking=False):
            raise ConfigProblem(_BUSY)
        try:
            return _run_command(arguments, folder)
        finally:
            self.lock.release()

    def _work(self, arguments: Sequence[str], folder: Path, finish: Callable[[], None]) -> None:
        try:
            result = _run_command(arguments, folder)
        except MachineProblem as problem:
            result = WorkResult(problem.code, "", problem.message, problem.hint)
        finally:
            finish()
            self.lock.release()
        self.result = result


def _run_command(arguments: Sequence[str], folder: Path) -> WorkResult:
    """Runs a command to its end.

    Raises:
        MachineProblem: it cannot be started.
    """
    with start_command(arguments, folder, subprocess.PIPE, subprocess.PIPE) as process:
        try:
            output, errors = process.communicate(timeout=WORK_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return WorkResult(MachineProblem.code, "", f"vedette {arguments[0]} took more than {WORK_SECONDS:.0f} s")
    if process.returncode == 0:
        return WorkResult(0, output)
    message, remedy = read_problem(errors)
    return WorkResult(process.returncode, output, message or f"it ended with {process.returncode}", remedy)
