"""Drawn printed boards, good ones and ones with a missing, moved, doubled, turned or wrong element of a few pixels.

A board has a green mask with grain, traces, pads, small parts of five colors, larger parts with printed text, and a
legend. What is where follows from the number of the board alone. Good boards differ as real ones do: each part lies up
to 0.7 pixels and 1.5 degrees off and has a shade of its own, the print of a part's lot differs, and the lamp, the focus
and the sensor's noise vary. A `loose` board also lies up to 2 % of the side and 1 degree off.

Nothing here was changed after an anomaly model had seen a board.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
Rng = np.random.Generator

SIDE = 320  # pixels
DEFECTS = ("missing", "moved", "doubled", "turned", "wrong", "bridge", "break")
_COLORS = ((40, 38, 36), (70, 62, 58), (120, 150, 185), (60, 80, 120), (170, 170, 165))  # BGR


class Part(msgspec.Struct, frozen=True):
    """One part of a board, in pixels."""

    x: float
    y: float
    width: float
    height: float
    color: int
    text: str = ""


class Board(NamedTuple):
    """What is where."""

    parts: tuple[Part, ...]
    traces: tuple[tuple[tuple[int, int], ...], ...]
    grain: Image


def design_board(number: int) -> Board:
    """The board with this number."""
    rng = np.random.default_rng(1000 + number)
    parts: list[Part] = []
    while len(parts) < 34:
        large = len(parts) < 4
        width, height = rng.uniform(30, 60, 2) if large else rng.permutation([rng.uniform(10, 16), rng.uniform(5, 8)])
        x, y = rng.uniform(30, SIDE - 30, 2)
        part = Part(
            float(x),
            float(y),
            float(width),
            float(height),
            int(rng.integers(2 if large else len(_COLORS))),
            f"{rng.integers(10, 99)}" if large else "",
        )
        if all(_apart(part, other) for other in parts):
            parts.append(part)
    traces = []
    for _ in range(26):
        first, second = rng.choice(len(parts), 2, replace=False)
        start, end = parts[first], parts[second]
        traces.append(((round(start.x), round(start.y)), (round(start.x), round(end.y)), (round(end.x), round(end.y))))
    grain = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), 1.2)
    return Board(tuple(parts), tuple(traces), 6 * grain[..., None])


def _apart(first: Part, second: Part) -> bool:
    return abs(first.x - second.x) > (first.width + second.width) / 2 + 10 or (
        abs(first.y - second.y) > (first.height + second.height) / 2 + 10
    )


def draw_board(board: Board, rng: Rng, loose: bool = False, defect: str | None = None) -> Image:
    """One picture of a board, SIDE x SIDE x 3, uint8, BGR.

    Args:
        board: what is where
        rng: determines how this copy differs from others
        loose: the board lies elsewhere in each picture
        defect: one of DEFECTS; None: a good board
    """
    canvas = (np.full((SIDE, SIDE, 3), (62, 98, 34), np.float32) + board.grain).clip(0, 255).astype(np.uint8)
    broken = int(rng.integers(len(board.traces))) if defect == "break" else -1
    for number, trace in enumerate(board.traces):
        cv2.polylines(canvas, [np.array(trace, np.int32)], False, (78, 132, 58), 2, cv2.LINE_AA)
        if number == broken:
            _break(canvas, trace, rng)
    # a trace may run below a larger part; the parts are drawn over it
    small = [index for index, part in enumerate(board.parts) if not part.text]
    chosen = int(rng.choice(small)) if defect in DEFECTS[:6] else -1
    for index, part in enumerate(board.parts):
        placed = msgspec.structs.replace(part, x=part.x + rng.uniform(-0.7, 0.7), y=part.y + rng.uniform(-0.7, 0.7))
        angle, shade = rng.uniform(-1.5, 1.5), rng.uniform(0.92, 1.08)
        lot = f"{placed.text}{'ABC'[int(rng.integers(3))]}" if part.text else ""
        if index != chosen:
            _draw_part(canvas, placed, angle, shade, lot)
        else:
            _draw_defect(canvas, placed, angle, shade, str(defect), rng)
        cv2.putText(canvas, f"{index}", _legend(part), cv2.FONT_HERSHEY_PLAIN, 0.5, (205, 210, 205), 1, cv2.LINE_AA)
    return _photograph(canvas, rng, loose)


def _legend(part: Part) -> tuple[int, int]:
    return round(part.x + part.width / 2 + 3), round(part.y + 3)


def _draw_pads(canvas: Image, part: Part) -> None:
    along = (part.width / 2, 0.0) if part.width >= part.height else (0.0, part.height / 2)
    for side in (-1, 1):
        center = (part.x + side * along[0], part.y + side * along[1])
        _fill(canvas, center, min(part.width, part.height), min(part.width, part.height), 0.0, (175, 185, 190))


def _draw_part(canvas: Image, part: Part, angle: float, shade: float, text: str) -> None:
    _draw_pads(canvas, part)
    color = tuple(shade * each for each in _COLORS[part.color])
    _fill(canvas, (part.x, part.y), part.width, part.height, angle, color)
    if text:
        start = (round(part.x - part.width / 4), round(part.y + 4))
        cv2.putText(canvas, text, start, cv2.FONT_HERSHEY_PLAIN, 0.7, (190, 190, 190), 1, cv2.LINE_AA)


def _draw_defect(canvas: Image, part: Part, angle: float, shade: float, defect: str, rng: Rng) -> None:
    turn = rng.uniform(0, 2 * np.pi)
    step = rng.uniform(4, 8)
    moved = msgspec.structs.replace(part, x=part.x + step * np.cos(turn), y=part.y + step * np.sin(turn))
    if defect == "missing":
        _draw_pads(canvas, part)
    elif defect == "moved":
        _draw_pads(canvas, part)
        _fill(canvas, (moved.x, moved.y), part.width, part.height, angle, _COLORS[part.color])
    elif defect == "doubled":
        _draw_part(canvas, part, angle, shade, "")
        _fill(canvas, (moved.x, moved.y), part.width, part.height, angle, _COLORS[part.color])
    elif defect == "turned":
        _draw_part(canvas, part, angle + rng.uniform(25, 90) * rng.choice((-1, 1)), shade, "")
    elif defect == "wrong":
        other = (part.color + int(rng.integers(1, len(_COLORS)))) % len(_COLORS)
        _draw_part(canvas, msgspec.structs.replace(part, color=other), angle, shade, "")
    else:  # a bridge of solder beside the part
        _draw_part(canvas, part, angle, shade, "")
        start = np.array([part.x, part.y]) + rng.uniform(-4, 4, 2)
        end = start + 9 * np.array([np.cos(turn), np.sin(turn)])
        cv2.line(canvas, tuple(map(round, start)), tuple(map(round, end)), (180, 190, 195), 2, cv2.LINE_AA)


def _break(canvas: Image, trace: tuple[tuple[int, int], ...], rng: Rng) -> None:
    """A gap of five pixels in the longer piece of a trace."""
    pieces = sorted(itertools.pairwise(trace), key=lambda piece: -np.hypot(*np.subtract(*piece)))
    share = rng.uniform(0.3, 0.7)
    x, y = (round(a + share * (b - a)) for a, b in zip(*pieces[0], strict=True))
    cv2.rectangle(canvas, (x - 2, y - 2), (x + 2, y + 2), (62, 98, 34), -1)


def _fill(canvas: Image, center: tuple[float, float], width: float, height: float, angle: float, color: Any) -> None:
    corners = cv2.boxPoints((center, (width, height), angle))
    cv2.fillPoly(canvas, [np.round(corners * 16).astype(np.int32)], color, cv2.LINE_AA, 4)


def _photograph(canvas: Image, rng: Rng, loose: bool) -> Image:
    shift, angle = (0.02 * SIDE, 1.0) if loose else (0.3, 0.1)
    matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), rng.uniform(-angle, angle), 1.0)
    matrix[:, 2] += rng.uniform(-shift, shift, 2)
    moved = np.asarray(cv2.warpAffine(canvas.astype(np.float32), matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT))
    down, right = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    lamp = rng.uniform(0.92, 1.08) * (1 + rng.uniform(-0.05, 0.05) * down + rng.uniform(-0.05, 0.05) * right)
    focused = cv2.GaussianBlur(moved * lamp[..., None].astype(np.float32), (0, 0), rng.uniform(0.5, 0.9))
    return np.asarray((focused + rng.normal(0, 2.5, focused.shape)).clip(0, 255).astype(np.uint8))
