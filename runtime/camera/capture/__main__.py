"""What runs in the process of its own: reads a camera until it ends, fails, or the daemon is gone.

Standard input brings one line of JSON, so that no other user sees a password in the list of processes. A pipe
takes one line for each picture, `{"slot": 1, "number": 7, "at": 12.5, "shape": [480, 640, 3]}`, and a last one,
`{"error": "…"}`, where something went wrong. `at` is CLOCK_MONOTONIC, which all processes share.
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

from .privacy_mask import Mask
from .shared_buffer import Writer

READERS = {"stream": ".stream:Stream", "video4linux": ".video4linux:Video4Linux", "picamera": ".picamera:Picamera"}
_PR_SET_PDEATHSIG = 1


def main() -> int:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # prctl(2): a daemon that is killed leaves none behind
    spec = json.loads(sys.stdin.readline())
    try:
        try:
            _read(spec)
        except (OSError, RuntimeError, ImportError) as error:
            _say(spec, error=str(error) or type(error).__name__)
            return 1
    except BrokenPipeError:  # the daemon is gone
        return 0


def _read(spec: dict[str, Any]) -> NoReturn:
    slots = Writer(spec["memory"])
    module, _, name = READERS[spec["reader"]].partition(":")
    reader = getattr(import_module(module, __package__), name)(spec)
    take, mask = reader.retrieve, Mask(spec["zones"])
    if mask.zones:  # into memory of this process first: nobody else ever sees what is in the zones
        take = lambda _: mask(reader.retrieve(None))  # noqa: E731
    number, shown = 0, float("-inf")
    while True:
        reader.grab()
        at = time.monotonic()
        if at - shown < 0.9 * slots.interval:  # a camera's own rate wavers
            continue
        shown = at
        slot, shape = slots.put(take)
        _say(spec, slot=slot, number=number, at=at, shape=shape)
        number += 1


def _say(spec: dict[str, Any], **line: Any) -> None:
    os.write(spec["lines"], json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
