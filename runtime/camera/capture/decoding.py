"""The decoding process: reads the pictures of a recording for the daemon, one at a time, until the daemon is gone.

A damaged picture may crash a decoder or fill the memory; that ends this process and not the daemon. It has no network,
may change no file, and refuses a picture by its header if it has too many pixels. The first line of its standard input
is the specification, each further one asks for a picture: `{"image": PATH}`, `{"video": PATH}` (opens it) or `{}` (its
next frame). The answer is a line on a pipe, with the shape of the picture in shared memory, or `{"error": …}`, or `{}`
at the end of the video.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ... import process_limits
from ...errors import ConfigProblem
from .. import image_files
from . import DECODER_MEMORY, DECODER_MEMORY_PER_PIXEL
from .privacy_mask import PrivacyMask


def main() -> None:
    """Answers requests until standard input ends."""
    process_limits.give_up_root()
    process_limits.die_with_parent()
    spec = json.loads(sys.stdin.readline())
    memory = mmap.mmap(spec["memory"], 3 * spec["max_pixels"])
    process_limits.limit_memory(DECODER_MEMORY + DECODER_MEMORY_PER_PIXEL * spec["max_pixels"])
    process_limits.forbid_network_and_changes()
    decoder = _Decoder(spec["max_pixels"], spec["zones"])
    for line in sys.stdin:
        try:
            answer = _store(decoder.answer(json.loads(line)), memory)
        except ConfigProblem as problem:
            answer = {"error": problem.message}
        except (RuntimeError, MemoryError, cv2.error) as error:
            answer = {"error": " ".join(str(error).split())[:300] or type(error).__name__}
        os.write(spec["lines"], json.dumps(answer).encode() + b"\n")


def _store(picture: tuple[Any, float] | None, memory: mmap.mmap) -> dict[str, Any]:
    """Puts a picture into the shared memory; returns the answer."""
    if picture is None:
        return {}
    pixels, rate = picture
    np.frombuffer(memory, np.uint8, pixels.size).reshape(pixels.shape)[:] = pixels
    return {"shape": pixels.shape, "rate": rate}


class _Decoder:
    """Reads images, and the frames of one video."""

    def __init__(self, max_pixels: int, zones: Any) -> None:
        self.max_pixels, self.mask = max_pixels, PrivacyMask(zones)
        self.video = cv2.VideoCapture()
        self.path, self.rate = "", 0.0

    def answer(self, request: dict[str, str]) -> tuple[Any, float] | None:
        """The picture that a request asks for, with the rate of its recording; None: the video has no more.

        Raises:
            ConfigProblem: it cannot be read.
            RuntimeError: it has too many pixels.
        """
        if "image" in request:
            return self._check(image_files.read_image(Path(request["image"]))), 0.0
        if "video" in request:
            self.path = request["video"]
            self.video.open(self.path)
            self.rate = float(self.video.get(cv2.CAP_PROP_FPS))
        size = self.video.get(cv2.CAP_PROP_FRAME_WIDTH) * self.video.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if size > self.max_pixels:
            raise RuntimeError(f"{self.path}: its frames have {size / 1e6:.1f} million pixels; {self._limit()}")
        ok, pixels = self.video.read()
        return (self._check(pixels), self.rate) if ok else None

    def _check(self, pixels: Any) -> Any:
        if pixels.ndim != 3 or pixels.size > 3 * self.max_pixels:
            raise RuntimeError(f"{self.path or 'a picture'}: {pixels.shape[:2]} pixels; {self._limit()}")
        return self.mask(pixels)

    def _limit(self) -> str:
        return f"max_pixels allows {self.max_pixels / 1e6:.1f} million"


if __name__ == "__main__":
    main()
