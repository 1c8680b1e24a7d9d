"""The capture process: reads a camera until it ends, fails, or the daemon is gone.

Its standard input is one line of JSON, so that no password appears in the list of processes. It writes one line for
each frame to a pipe, `{"slot": 1, "number": 7, "at": 12.5, "shape": [480, 640, 3]}`, and after a failure a last line,
`{"error": "…"}`. `at` is CLOCK_MONOTONIC, which all processes share; `unstamped` says why it is not the time of
exposure that the camera was asked for. A camera that waits for its trigger and answers gives a line `{"waits": true}`
every second.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from typing import Any, NoReturn

from ... import process_limits
from . import DECODER_MEMORY, DECODER_MEMORY_PER_PIXEL
from .frame_pacer import FramePacer

READERS = {
    "stream": ".stream:OpenCvStreamReader",
    "video4linux": ".video4linux:Video4LinuxReader",
    "picamera": ".picamera:PicameraReader",
    "genicam": ".genicam:GenicamReader",
}
NETWORK_READERS = frozenset({"stream"})
"""Readers whose pictures come from the network: their process gets a limit of memory."""


def main() -> int:
    process_limits.die_with_parent()
    spec = json.loads(sys.stdin.readline())
    try:
        try:
            _capture_frames(spec)
        except (OSError, RuntimeError, ImportError, MemoryError) as error:
            _send_message(spec, error=str(error) or type(error).__name__)
            return 1
    except BrokenPipeError:  # the daemon is gone
        return 0


def _capture_frames(spec: dict[str, Any]) -> NoReturn:
    module, _, name = READERS[spec["reader"]].partition(":")
    reader_class = getattr(import_module(module, __package__), name)
    # After the reader: where its library is missing, the system's Python may lack numpy too, and the reader's is named.
    from .privacy_mask import PrivacyMask
    from .shared_buffer import BufferWriter

    buffer = BufferWriter(spec["memory"])
    if spec["reader"] in NETWORK_READERS:
        process_limits.limit_memory(DECODER_MEMORY + DECODER_MEMORY_PER_PIXEL * spec["max_pixels"])
    reader = reader_class(spec)
    retrieve, mask = reader.retrieve, PrivacyMask(spec["zones"])
    if mask.zones:  # mask in private memory, so that no hidden pixel ever gets into shared memory
        retrieve = lambda _: mask(reader.retrieve(None))  # noqa: E731
    number, pacer = 0, FramePacer()
    while True:
        if (count := reader.pixel_count()) > spec["max_pixels"]:
            raise RuntimeError(f"its frames have {count} pixels; max_pixels allows {spec['max_pixels']}")
        if reader.grab() is False:
            _send_message(spec, waits=True)
            continue
        at = getattr(reader, "exposed", None) or time.monotonic()
        if not pacer.takes(at, buffer.interval):
            continue
        slot, shape = buffer.write_frame(retrieve)
        _send_message(spec, slot=slot, number=number, at=at, shape=shape, unstamped=getattr(reader, "unstamped", ""))
        number += 1


def _send_message(spec: dict[str, Any], **message: Any) -> None:
    os.write(spec["lines"], json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
