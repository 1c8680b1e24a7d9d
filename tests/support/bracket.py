"""A made-up part, a bracket with two holes, on a plain table: drawn at any place, angle, size and light."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

WIDTH, HEIGHT = 200, 160
_OUTLINE = np.array([[-40, -45], [40, -45], [40, -20], [-10, -20], [-10, 45], [-40, 45]], np.float64)


def draw_bracket(
    shift: tuple[float, float] = (0.0, 0.0),
    angle: float = 0.0,
    scale: float = 1.0,
    gain: float = 1.0,
    seed: int = 0,
    scratched: bool = False,
) -> Any:
    """The bracket: HEIGHT x WIDTH x 3, uint8. Shift in pixels, angle in degrees clockwise."""
    cosine, sine = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    linear = np.array([[cosine, -sine], [sine, cosine]])
    center = np.array([WIDTH / 2, HEIGHT / 2]) + shift

    def place(points: Any) -> Any:
        return np.rint((np.asarray(points, np.float64) @ linear.T + center) * 16).astype(np.int32)

    picture = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    cv2.fillPoly(picture, [place(_OUTLINE)], (150, 160, 170), cv2.LINE_AA, 4)
    for hole in ([25, -32], [-25, 30]):
        where = tuple(int(each) for each in place(hole))
        cv2.circle(picture, where, round(7 * scale * 16), (40, 40, 40), -1, cv2.LINE_AA, 4)
    if scratched:
        start, end = (tuple(int(each) for each in place(point)) for point in ([-34, -10], [-16, 12]))
        cv2.line(picture, start, end, (235, 235, 235), 3, cv2.LINE_AA, 4)
    noise = np.random.default_rng(seed).normal(0, 3, picture.shape)
    return np.clip(picture * gain + noise, 0, 255).astype(np.uint8)
