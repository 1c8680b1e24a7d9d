"""The capture process: reads a camera until it ends, fails, or the daemon is gone.

Its standard input is one line of JSON, so that no password appears in the list of processes. It writes one line for
each frame to a pipe, `{"slot": 1, "number": 7, "at": 12.5, "shape": [480, 640, 3]}`, and after a failure a last line,
`{"error": "…"}`. `at` is CLOCK_MONOTONIC, which all processes share.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from importlib import import_module
from typing import Any, NoReturn

from .privacy_mask import PrivacyMask
from .shared_buffer import BufferWriter

READERS = {
    "stream": ".stream:OpenCvStreamReader",
    "video4linux": ".video4linux:Video4LinuxReader",
    "picamera": ".picamera:PicameraReader",
}
_PR_SET_PDEATHSIG = 1


def main() -> int:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # prctl(2): this process dies with the daemon
    spec = json.loads(sys.stdin.readline())
    try:
        try:
            _capture_frames(spec)
        except (OSError, RuntimeError, ImportError) as error:
            _send_message(spec, error=str(error) or type(error).__name__)
            return 1
    except BrokenPipeError:  # the daemon is gone
        return 0


def _capture_frames(spec: dict[str, Any]) -> NoReturn:
    buffer = BufferWriter(spec["memory"])
    module, _, name = READERS[spec["reader"]].partition(":")
    reader = getattr(import_module(module, __package__), name)(spec)
    retrieve, mask = reader.retrieve, PrivacyMask(spec["zones"])
    if mask.zones:  # mask in private memory, so that no hidden pixel ever gets into shared memory
        retrieve = lambda _: mask(reader.retrieve(None))  # noqa: E731
    number, last = 0, float("-inf")
    while True:
        reader.grab()
        at = time.monotonic()
        if at - last < 0.9 * buffer.interval:  # tolerance: a camera's own rate varies
            continue
        last = at
        slot, shape = buffer.write_frame(retrieve)
        _send_message(spec, slot=slot, number=number, at=at, shape=shape)
        number += 1


def _send_message(spec: dict[str, Any], **message: Any) -> None:
    os.write(spec["lines"], json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
