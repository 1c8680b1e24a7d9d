"""One run of the capture process (runtime/camera/capture), and the memory shared with it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import msgspec

from ...errors import UNREADABLE
from ...process_limits import describe_exit
from ..capture.shared_buffer import SLOT_COUNT, BufferReader

# The other Python sees the package folder of vedette, and no other package of this Python. Its arguments are that
# folder and the module to run.
BOOTSTRAP = """\
import runpy, sys, types
package = types.ModuleType("vedette")
package.__path__ = [sys.argv[1]]
sys.modules["vedette"] = package
runpy.run_module(sys.argv[2], run_name="__main__", alter_sys=True)
"""
PACKAGE_FOLDER = str(Path(__file__).parents[3])
_MODULE = "vedette.runtime.camera.capture"
_READ_BYTES = 1 << 16


class CapturedImage(msgspec.Struct, frozen=True):
    """A frame in a slot of the shared memory; or, with `error`, the last message of the process."""

    slot: int = 0
    number: int = -1
    at: float = 0.0
    """CLOCK_MONOTONIC, seconds."""
    shape: tuple[int, ...] = ()
    error: str = ""
    unstamped: str = ""
    """Why `at` is not the time of exposure that the camera was asked for."""
    waits: bool = False
    """No frame: the camera answers, and waits for its trigger."""


class CaptureProcess:
    """Reads the camera that `spec` describes, until it is closed.

    Args:
        python: the interpreter, with its options
        spec: see capture/__main__.py
    """

    def __init__(self, python: Sequence[str], spec: dict[str, Any]) -> None:
        self.buffer, self.max_pixels = BufferReader(), int(spec["max_pixels"])
        self.message_pipe, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.message_pipe, False)
        self.partial_message = b""
        self.next_image: CapturedImage | None = None
        self.exit_reason = ""
        """Why the process ended; empty while it runs."""
        self.waited = 0.0
        """When the camera last said that it waits for its trigger, `time.monotonic`."""
        with os.fdopen(write_end, "wb"):
            self.process = subprocess.Popen(  # noqa: S603  # a fixed command
                [*python, "-c", BOOTSTRAP, PACKAGE_FOLDER, _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[self.buffer.memory, write_end],
                start_new_session=True,  # Ctrl-C is for the daemon
            )
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self.process.stdin as spec_pipe:
            spec_pipe.write(json.dumps(spec | {"memory": self.buffer.memory, "lines": write_end}).encode() + b"\n")

    def read_newest(self, seconds: float) -> tuple[CapturedImage, Any] | None:
        """The newest frame that was not returned yet, H x W x 3, uint8; None if none comes within `seconds`.

        If the process has ended, it returns at once; `exit_reason` then holds the reason.
        """
        if self.next_image is None:
            select.select([self.message_pipe], [], [], seconds)
        image = self._read_messages() or self.next_image
        while image is not None:
            has_place = 0 <= image.slot < SLOT_COUNT and len(image.shape) == 3 and min(image.shape) > 0
            if not has_place or prod(image.shape) > 3 * self.max_pixels:
                self.exit_reason = f"a frame of shape {image.shape[:9]}; max_pixels allows {self.max_pixels} pixels"
                return None
            pixels = self.buffer.copy_frame(image.slot, image.shape)
            self.next_image = self._read_messages()
            if self.next_image is None or self.next_image.number - image.number < SLOT_COUNT - 1:
                return image, pixels
            image = self.next_image  # the writer overwrote the slot during the copy
        return None

    def _read_messages(self) -> CapturedImage | None:
        image = None
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.message_pipe, _READ_BYTES):
                *lines, self.partial_message = (self.partial_message + chunk).split(b"\n")
                if len(self.partial_message) > _READ_BYTES:
                    lines.append(self.partial_message)  # nonsense
                for line in lines:
                    message = _decode_message(line)
                    if message.error:
                        self.exit_reason = message.error
                    elif message.waits:
                        self.waited = time.monotonic()
                    else:
                        image = message
                if self.exit_reason:  # whatever follows
                    return None
            self.exit_reason = self.exit_reason or self._describe_exit()
        return image

    def _describe_exit(self) -> str:
        return f"the capture process ended with {describe_exit(self.process.wait())}"

    def close(self) -> None:
        """Kills the process, whatever it is doing, and frees the memory."""
        self.process.kill()
        self.process.wait()
        os.close(self.message_pipe)
        self.buffer.close()


def _decode_message(line: bytes) -> CapturedImage:
    """What a line says; nonsense is told as the last message, so that the process is ended."""
    try:
        return msgspec.json.decode(line, type=CapturedImage)
    except UNREADABLE:
        return CapturedImage(error="the capture process answers nonsense")
