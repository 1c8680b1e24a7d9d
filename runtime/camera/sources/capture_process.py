"""One attempt at a camera: the process that reads it (runtime/capture) and the memory shared with it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..capture.shared_buffer import SLOTS, Reader

# The folders that hold vedette, and nothing else of this Python, are shown to the other one.
_BOOT = """\
import runpy, sys, types
package = types.ModuleType("vedette")
package.__path__ = [sys.argv[1]]
sys.modules["vedette"] = package
runpy.run_module("vedette.runtime.camera.capture", run_name="__main__")
"""
_HOME = str(Path(__file__).parents[2])
_LINE = 1 << 16


class Shot(msgspec.Struct, frozen=True):
    """A picture that lies in a slot; or, with `error`, the last word of the process."""

    slot: int = 0
    number: int = -1
    at: float = 0.0
    """CLOCK_MONOTONIC, seconds."""
    shape: tuple[int, ...] = ()
    error: str = ""


class Process:
    """Reads the camera that `spec` describes, until it is closed.

    Args:
        python: the interpreter, with its options
        spec: see capture/__main__.py
    """

    def __init__(self, python: Sequence[str], spec: dict[str, Any]) -> None:
        self.slots = Reader()
        self.lines, theirs = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.lines, False)
        self.rest = b""
        self.next: Shot | None = None
        self.why = ""
        """Why it ended; empty while it goes on."""
        with os.fdopen(theirs, "wb"):
            self.child = subprocess.Popen(  # noqa: S603  # our own program
                [*python, "-c", _BOOT, _HOME],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[self.slots.memory, theirs],
                start_new_session=True,  # Ctrl-C is for the daemon
            )
        assert self.child.stdin is not None
        with contextlib.suppress(BrokenPipeError), self.child.stdin as told:
            told.write(json.dumps(spec | {"memory": self.slots.memory, "lines": theirs}).encode() + b"\n")

    def newest(self, seconds: float) -> tuple[Shot, Any] | None:
        """The newest picture that was not given yet, H x W x 3, uint8; None where none comes in so many seconds.

        Where the process has ended it returns at once, and `why` says what is known.
        """
        if self.next is None:
            select.select([self.lines], [], [], seconds)
        shot = self._last() or self.next
        while shot is not None:
            pixels = self.slots.copy(shot.slot, shot.shape)
            self.next = self._last()
            if self.next is None or self.next.number - shot.number < SLOTS - 1:
                return shot, pixels
            shot = self.next  # the writer has come round while it was copied
        return None

    def _last(self) -> Shot | None:
        shot = None
        with contextlib.suppress(BlockingIOError):
            while told := os.read(self.lines, _LINE):
                *whole, self.rest = (self.rest + told).split(b"\n")
                for line in whole:
                    said = msgspec.json.decode(line, type=Shot)
                    if said.error:
                        self.why = said.error
                    else:
                        shot = said
            self.why = self.why or self._ending()
        return shot

    def _ending(self) -> str:
        code = self.child.wait()
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"what reads the camera ended with {name}"

    def close(self) -> None:
        """Whatever it is doing; nothing of it is left."""
        self.child.kill()
        self.child.wait()
        os.close(self.lines)
        self.slots.close()
