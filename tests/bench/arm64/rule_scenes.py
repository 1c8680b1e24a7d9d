"""What each rule sees in `make count-rules`, and its settings: scripted people before a camera, five frames a second.

run     people run to and fro in lanes, each across the frame in five seconds, so zones and lines are met all the time
fall    people stand, fall one after the other, and stay down
left    as `run`, drawn on a floor with noise; a bag is put down, and taken away again
removed the same, but the bag stands there from the start, and is taken away alone
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import msgspec
import numpy as np
from scenes import START, Scene, Walker

from vedette.runtime.camera.frame import Frame
from vedette.runtime.inference.prediction import Box, Prediction

FPS = 5
SECONDS = 40.0
DRAWN_SECONDS = 20.0
LEARN = 5.0
BAG = Box(0.45, 0.03, 0.52, 0.12)
BAG_SPANS = {"left": (8.0, 15.0), "removed": (0.0, 10.0)}
TREMBLE = 0.01
MIDDLE = [[0.2, 0.1], [0.8, 0.1], [0.8, 1.0], [0.2, 1.0]]
LINE = [[0.5, 0.0], [0.5, 1.0]]
TO_THE_RIGHT = [[0.2, 0.5], [0.8, 0.5]]
GROUND = [[0, 0], [10, 0], [10, 10], [0, 10]]  # metres
_STATIC = {"seconds": 3.0, "learn": LEARN, "ignore": ["person"]}
RULE_SCENES: dict[str, tuple[str, dict[str, Any]]] = {
    "crossing": ("run", {"line": LINE}),
    "crowd": ("run", {"polygon": MIDDLE, "count": 1}),
    "dwell": ("run", {"polygon": MIDDLE, "seconds": 1.0}),
    "fall": ("fall", {}),
    "intrusion": ("run", {"polygon": MIDDLE, "way": TO_THE_RIGHT}),
    "left_object": ("left", _STATIC),
    "lying": ("fall", {}),
    "presence": ("run", {}),
    "queue": ("run", {"polygon": MIDDLE, "count": 1, "seconds": 1.0}),
    "removed_object": ("removed", _STATIC),
    "running": ("run", {}),
    "speed": ("run", {"points": MIDDLE, "metres": GROUND, "limit": 5}),
    "tailgate": ("run", {"line": LINE}),
    "wrong_way": ("run", {"way": TO_THE_RIGHT}),
    "zone": ("run", {"polygon": MIDDLE}),
}
"""The scene of each rule, and its table without `use`."""


@dataclass(frozen=True)
class Faller(Walker):
    """Stands at its path's place, falls within 0.6 s, and lies."""

    falls: float = 3.0

    def at(self, when: float) -> Box | None:
        box = super().at(when)
        if box is None:
            return None
        wide, high = (
            float(np.interp(when, (self.falls, self.falls + 0.6), each)) for each in ((0.04, 0.14), (0.16, 0.06))
        )
        middle = (box.left + box.right) / 2
        return Box(middle - wide / 2, box.bottom - high, middle + wide / 2, box.bottom)


def make_scene(kind: str, people: int) -> Scene:
    """The scene with so many people, 1…20."""
    walkers = [_make_faller(number) if kind == "fall" else _make_runner(number) for number in range(people)]
    return Scene(tuple(walkers), DRAWN_SECONDS if kind in BAG_SPANS else SECONDS, tremble=TREMBLE)


def film(kind: str, people: int, size: tuple[int, int] = (480, 640)) -> Iterator[tuple[Frame, tuple[Prediction, ...]]]:
    """Each frame of height and width `size`, and what a detector sees in it. Only `left` and `removed` are drawn."""
    blank = np.zeros((*size, 3), np.uint8)
    floor, noises = _paint_floor(size) if kind in BAG_SPANS else (blank, [])
    for frame, seen, _ in make_scene(kind, people).film(FPS):
        pixels = blank
        if kind in BAG_SPANS:
            picture = floor.copy()
            for each in seen:
                assert each.box is not None
                _paint(picture, each.box, 40)
            start, end = BAG_SPANS[kind]
            if start <= frame.taken - START < end:
                _paint(picture, BAG, 60)
            pixels = cv2.add(picture, noises[frame.number % len(noises)], dtype=cv2.CV_8U)
        yield msgspec.structs.replace(frame, pixels=pixels), seen


def _make_runner(number: int) -> Walker:
    """One who runs in a lane of the frame, and begins somewhere on the way."""
    phase = (number * 0.37) % 1
    turns = [(5.0 * leg - 10.0 * phase, 0.02 if leg % 2 else 0.98) for leg in range(round(SECONDS / 5) + 4)]
    return Walker(tuple((when, x, 0.27 + 0.037 * number) for when, x in turns), size=(0.04, 0.11))


def _make_faller(number: int) -> Faller:
    x, y = 0.1 + 0.2 * (number % 5), 0.2 + 0.24 * (number // 5)
    return Faller(((0.0, x, y), (SECONDS + 1, x, y)), falls=3.0 + 0.5 * number)


def _paint_floor(size: tuple[int, int]) -> tuple[Any, list[Any]]:
    rng = np.random.default_rng(0)
    coarse = rng.uniform(110, 150, (8, 12, 3)).astype(np.float32)
    floor = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return floor, [rng.integers(-5, 6, floor.shape, dtype=np.int16) for _ in range(4)]


def _paint(picture: Any, box: Box, gray: int) -> None:
    height, width = picture.shape[:2]
    top, bottom = (min(max(round(each * height), 0), height) for each in (box.top, box.bottom))
    left, right = (min(max(round(each * width), 0), width) for each in (box.left, box.right))
    picture[top:bottom, left:right] = gray
