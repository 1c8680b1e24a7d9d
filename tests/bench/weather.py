"""Weather and light over a recording: the same scene, hours long, never twice the same.

All strengths follow curves through random values that are two minutes apart, so nothing jumps:

    light       the picture times 0.3 to 1.25; below 0.5 it fades to gray, as an infrared camera's picture
    noise       of the sensor, normal, 2 to 14 gray levels; darker pictures have more
    cloud       a soft shadow a third of the frame wide that passes in 40 s, to 45 % darker
    rain        in two of five spells: a blur, and up to 300 streaks, 60 gray levels brighter, a thirtieth of the height
    fog         up to 40 % of the picture is gray

It is a stand-in: real rain lies on the lens, real night has headlights, and shadows have edges.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import cv2
import numpy as np

SPELL_SECONDS = 120.0
KINDS = ("light", "noise", "cloud", "rain", "fog")
_NOISE_FIELDS = 8


class Weather:
    """The weather of one episode; equal for equal seeds."""

    def __init__(self, seed: int, height: int, width: int, kinds: Collection[str] = KINDS) -> None:
        """Draws the curves; what is not one of `kinds` does not happen."""
        self.rng = np.random.default_rng(seed)
        spells = self.rng.random((64, 5))
        self.light = 0.3 + 0.95 * spells[:, 0]
        self.noise = 2.0 + 6.0 * spells[:, 1]
        self.rain = np.maximum(spells[:, 2] - 0.6, 0.0) / 0.4
        self.fog = 0.4 * np.maximum(spells[:, 3] - 0.5, 0.0) / 0.5
        self.cloud = 0.45 * spells[:, 4]
        self.noisy = "noise" in kinds
        for kind in set(KINDS) - set(kinds):
            getattr(self, kind)[:] = 1.0 if kind == "light" else 0.0
        self.fields = self.rng.normal(0, 1, (_NOISE_FIELDS, height, width, 3)).astype(np.float16)
        self.columns = np.arange(width, dtype=np.float32)

    def at(self, curve: Any, seconds: float) -> float:
        """A strength at this time of the episode."""
        return float(np.interp(seconds / SPELL_SECONDS, np.arange(len(curve)), curve))

    def change(self, pixels: Any, seconds: float) -> Any:
        """The frame in the weather of this time; H x W x 3, uint8, blue-green-red."""
        light = self.at(self.light, seconds)
        changed = pixels.astype(np.float32)
        if light < 0.5:
            gray = changed.mean(axis=2, keepdims=True)
            changed += (gray - changed) * np.float32((0.5 - light) / 0.2)
        width = len(self.columns)
        middle = (seconds % 60.0) / 40.0 * 1.6 * width - 0.3 * width
        shadow = self.at(self.cloud, seconds) * np.exp(-(((self.columns - middle) / (0.17 * width)) ** 2))
        changed *= (light * (1 - shadow))[None, :, None].astype(np.float32)
        if (fog := self.at(self.fog, seconds)) > 0:
            changed += (np.float32(150 * light) - changed) * np.float32(fog)
        if (rain := self.at(self.rain, seconds)) > 0:
            changed = self._add_rain(changed, rain)
        field = self.fields[self.rng.integers(_NOISE_FIELDS)]
        offset = int(self.rng.integers(field.shape[0]))
        if self.noisy:
            sigma = self.at(self.noise, seconds) + 6.0 * max(0.6 - light, 0.0) / 0.3
            changed += np.roll(field, offset, axis=0).astype(np.float32) * np.float32(sigma)
        return np.clip(changed, 0, 255).astype(np.uint8)

    def _add_rain(self, pixels: Any, rain: float) -> Any:
        height, width = pixels.shape[:2]
        streaks = np.zeros((height, width), np.float32)
        for x, y in self.rng.integers(0, (width, height), (int(300 * rain), 2)).tolist():
            cv2.line(streaks, (x, y), (x + height // 120, y + height // 30), 60.0, 1)
        return cv2.GaussianBlur(pixels, (3, 3), 0.8 * rain + 0.1) + streaks[..., None]
