"""Known motions of a camera, and light and weather over a picture, for the bench of privacy zones (masks.py)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from weather import Weather

KINDS = ("as it is", "dim", "night", "rain", "fog", "cloud", "noise")
STRENGTHS = {"rain": 1.0, "fog": 0.4, "cloud": 0.45, "noise": 14.0}
FIELD_OF_VIEW = 60.0  # degrees, of the panned camera


def list_motions(width: int, height: int, rng: Any) -> Iterator[tuple[str, Any]]:
    """Names and homographies, from pixels before to pixels after."""
    middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])

    def about_middle(right: float = 0.0, down: float = 0.0, angle: float = 0.0, scale: float = 1.0) -> Any:
        cosine, sine = scale * np.cos(np.deg2rad(angle)), scale * np.sin(np.deg2rad(angle))
        return np.linalg.inv(middle) @ np.array([[cosine, -sine, right], [sine, cosine, down], [0, 0, 1]]) @ middle

    for share in (0.02, 0.05, 0.1, 0.2, 0.4):
        way = rng.uniform(0, 2 * np.pi)
        yield f"shift {share:.0%}", about_middle(share * width * np.cos(way), share * width * np.sin(way))
    focal = width / 2 / np.tan(np.deg2rad(FIELD_OF_VIEW / 2))
    camera = np.diag([focal, focal, 1.0]) + np.array([[0, 0, width / 2], [0, 0, height / 2], [0, 0, 0]])
    for share in (0.05, 0.1, 0.2):
        turn = np.arctan(share * width / focal) * rng.choice((-1, 1))
        pan = [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
        yield f"pan {share:.0%}", camera @ np.array(pan) @ np.linalg.inv(camera)
    for angle in (1, 3, 10):
        yield f"turn {angle}", about_middle(angle=angle * rng.choice((-1, 1)))
    for share in (0.05, 0.1, 0.2):
        yield f"zoom {share:.0%}", about_middle(scale=(1 + share) ** rng.choice((-1, 1)))


def change_light(pixels: Any, kind: str, rng: Any) -> Any:
    """A picture in one kind of weather or light."""
    height, width = pixels.shape[:2]
    if kind == "as it is":
        return pixels
    if kind == "dim":
        return np.clip(0.4 * pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)
    if kind == "night":
        gray = pixels.astype(np.float32).mean(axis=2)
        down, right = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        lit = (40 + 0.25 * (gray - gray.mean())) * (np.exp(-(right**2) - down**2) + 0.4)
        noisy = np.clip(lit + rng.normal(0, 8, lit.shape), 0, 255).astype(np.uint8)
        return noisy[..., None].repeat(3, axis=2)
    return make_weather(kind, height, width).change(pixels, float(rng.uniform(0, 60)))


@lru_cache(maxsize=8)
def make_weather(kind: str, height: int, width: int) -> Weather:
    weather = Weather(0, height, width, (kind,))
    getattr(weather, kind)[:] = STRENGTHS[kind]
    return weather
