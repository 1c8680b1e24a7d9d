"""Processes that write and read live frames, for tests that kill one of them: `python live_process.py write FOLDER`.

Every pixel and every cell of the heat map of frame N has the value N % 251, so a frame that is half of another shows.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from vedette.runtime.live.frame_reader import LiveFrameReader
from vedette.runtime.live.frame_writer import LiveFrameWriter
from vedette.runtime.live.live_frame import FrameDetails, LiveFrame


def value_of(number: int) -> int:
    return number % 251


def is_whole(frame: LiveFrame) -> bool:
    """Whether all of the frame is of one moment."""
    value = value_of(frame.number)
    return bool((frame.pixels == value).all() and frame.heat_map is not None and (frame.heat_map == value).all())


def details(number: int) -> FrameDetails:
    return FrameDetails(float(number), 1e9 + number, number, (), 0.5, 1.0, "weave:1:ab")


def start(role: str, folder: Path) -> subprocess.Popen[str]:
    """A process that writes frames as fast as it can, or reads them and prints a line for each whole one."""
    command = [sys.executable, __file__, role, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _write(folder: Path) -> None:
    writer = LiveFrameWriter(folder)
    pixels, heat_map = np.empty((240, 320, 3), np.uint8), np.empty((8, 8), np.float32)
    _say("ready")
    for number in range(sys.maxsize):
        if writer.is_wanted():
            pixels[:], heat_map[:] = value_of(number), value_of(number)
            writer.write(details(number), pixels, heat_map)


def _read(folder: Path) -> None:
    reader = LiveFrameReader(folder)
    while True:
        frame = reader.read(5.0)
        if frame is not None:
            _say("whole" if is_whole(frame) else "torn")


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    {"write": _write, "read": _read}[sys.argv[1]](Path(sys.argv[2]))
