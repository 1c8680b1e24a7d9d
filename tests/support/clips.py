"""Made-up recordings of a yard: someone walks through it to the right, or shakes, runs or walks the other way."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

RATE = 15.0
SPEEDS = {"walk": 60, "back": -60, "run": 200, "shake": 0}  # pixels a second


def yard_frames(kind: str, seed: int, seconds: float = 2.2) -> list[np.ndarray]:
    """Frames of 160 x 120; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.integers(90, 130, (12, 16), dtype=np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC)
    speed = SPEEDS[kind] * rng.uniform(0.8, 1.2)
    start, top = (rng.uniform(80, 120) if speed < 0 else rng.uniform(5, 30)), int(rng.integers(40, 60))
    frames = []
    for number in range(int(seconds * RATE)):
        now = number / RATE
        left = int(start + speed * now + (40 + 12 * np.sin(2 * np.pi * 3 * now) if kind == "shake" else 0))
        frame = cv2.cvtColor(ground, cv2.COLOR_GRAY2BGR)
        cv2.rectangle(frame, (left, top), (left + 14, top + 40), (205, 190, 200), -1)
        cv2.rectangle(frame, (left + 4, top + 5), (left + 10, top + 16), (50, 60, 70), -1)
        noise = rng.normal(0, 2, frame.shape[:2])[..., None]
        frames.append(np.clip(frame + noise, 0, 255).astype(np.uint8))
    return frames


def write_video(path: Path, frames: list[np.ndarray], rate: float = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path
