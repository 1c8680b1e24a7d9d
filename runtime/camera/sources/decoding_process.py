"""The process that decodes a recording (runtime/camera/capture/decoding.py), and the memory shared with it.

It is started when the first picture is asked for, and again after it died: then the picture that it was at is lost, and
of a video what followed.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...config.polygon import Polygon
from ...errors import UNREADABLE, MachineProblem
from ...process_limits import describe_exit
from ..image_decoder import PIXEL_LIMIT_VARIABLE
from .capture_process import BOOTSTRAP, PACKAGE_FOLDER

DECODING_SECONDS = 20.0  # for one picture; less than the watchdog of the systemd unit
_MODULE = "vedette.runtime.camera.capture.decoding"
_MAX_ANSWER = 1 << 12


class DecodingError(Exception):
    """A picture cannot be decoded: why, in one sentence."""


class Answer(msgspec.Struct, frozen=True):
    """What the process answers to a request."""

    shape: tuple[int, ...] = ()
    rate: float = 0.0
    error: str = ""


class DecodingProcess:
    """Decodes the pictures of a recording in another process.

    Args:
        max_pixels: most pixels of a picture
        zones: privacy zones, black in every picture
    """

    def __init__(self, max_pixels: int, zones: tuple[Polygon, ...]) -> None:
        self.max_pixels, self.zones = max_pixels, zones
        self.process: subprocess.Popen[bytes] | None = None
        self.answers = -1
        self.memory_file = os.memfd_create("vedette-recording")
        os.ftruncate(self.memory_file, 3 * max_pixels)  # sparse: only what a picture fills takes memory
        self.memory = mmap.mmap(self.memory_file, 3 * max_pixels)

    def read_image(self, path: Path) -> NDArray[Any]:
        """The image in a file, H x W x 3, uint8, blue-green-red.

        Raises:
            DecodingError: it cannot be read.
            MachineProblem: the process cannot be started.
        """
        picture = self._ask({"image": str(path)})
        if picture is None:
            raise DecodingError(f"{path}: no picture")
        return picture[0]

    def open_video(self, path: Path) -> tuple[NDArray[Any], float] | None:
        """The first frame of a video and its frames per second, or 0; None: it has none. Raises as `read_image`."""
        return self._ask({"video": str(path)})

    def next_frame(self) -> tuple[NDArray[Any], float] | None:
        """The next frame of the video and its frames per second; None: there is none. Raises as `read_image`."""
        return self._ask({})

    def close(self) -> None:
        """Ends the process, and frees the memory."""
        self._end_process()
        with contextlib.suppress(BufferError):
            self.memory.close()
        os.close(self.memory_file)

    def _ask(self, request: dict[str, str]) -> tuple[NDArray[Any], float] | None:
        process = self._running_process()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        answer = self._read_answer(process)
        if answer.error:
            raise DecodingError(answer.error)
        if not answer.shape:
            return None
        if len(answer.shape) != 3 or answer.shape[2] != 3 or not 0 < np.prod(answer.shape) <= 3 * self.max_pixels:
            raise DecodingError(f"a picture of shape {answer.shape[:9]}")
        count = int(np.prod(answer.shape))
        return np.frombuffer(self.memory, np.uint8, count).reshape(answer.shape).copy(), answer.rate

    def _read_answer(self, process: subprocess.Popen[bytes]) -> Answer:
        text, deadline = b"", time.monotonic() + DECODING_SECONDS
        while not text.endswith(b"\n") and len(text) < _MAX_ANSWER:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.answers], [], [], left)[0]:
                self._end_process()
                raise DecodingError(f"a picture took longer than {DECODING_SECONDS:g} s to decode")
            chunk = os.read(self.answers, _MAX_ANSWER)
            if not chunk:
                with contextlib.suppress(subprocess.TimeoutExpired):  # it closed the pipe and lives on
                    process.wait(left)
                self._end_process()
                raise DecodingError(f"the decoding process ended with {describe_exit(process.returncode)}")
            text += chunk
        try:
            return msgspec.json.decode(text, type=Answer)
        except UNREADABLE:
            self._end_process()
            raise DecodingError("the decoding process answered nonsense") from None

    def _running_process(self) -> subprocess.Popen[bytes]:
        if self.process is not None:
            return self.process
        self.answers, write_end = os.pipe2(os.O_CLOEXEC)
        environment = {PIXEL_LIMIT_VARIABLE: str(self.max_pixels), "OPENCV_LOG_LEVEL": "SILENT"}
        spec = {"zones": self.zones, "max_pixels": self.max_pixels, "memory": self.memory_file, "lines": write_end}
        try:
            with os.fdopen(write_end, "wb"):
                self.process = subprocess.Popen(  # noqa: S603  # a fixed command
                    [sys.executable, "-P", "-c", BOOTSTRAP, PACKAGE_FOLDER, _MODULE],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[self.memory_file, write_end],
                    env=os.environ | environment,
                    start_new_session=True,  # Ctrl-C is for the daemon
                )
        except OSError as error:
            os.close(self.answers)
            hint = "free some memory"
            raise MachineProblem(f"the decoding process cannot start: {error.strerror}", hint=hint) from None
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(spec).encode() + b"\n")
        return self.process

    def _end_process(self) -> None:
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        os.close(self.answers)
        self.process = None
