"""Made-up products: images of a woven texture, with and without defects, and the goal files of their builds.

Every image follows from its seed, so each run sees the same ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import clips
import cv2
import numpy as np

GOAL = """\
name = "weave"
task = "anomaly"
[data]
good = "good"
defect = "defect"
pictures = 6
[goal]
min_auroc = 0.9
false_alarm_rate = 0.1
[model]
input = 96
blocks = [2, 4]
"""

KINDS_GOAL = """\
name = "kinds"
task = "classify"
[data]
classes = "kinds"
group = '^(\\d+)'
[goal]
min_accuracy = 0.8
max_drop = 0.1
[model]
input = 96
epochs = 1
[augment]
flip = true
"""


YARD_GOAL = """\
name = "yard"
task = "behaviour"
[data]
footage = "normal"
abnormal = "abnormal"
[goal]
min_auroc = 0.9
"""


def texture_image(seed: int, scratched: bool) -> Any:
    """An image of the texture: 120 x 120 x 3, uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:120, :120]
    threads = 20 * np.sin(x / 3 + rng.uniform(0, 0.3)) + 20 * np.sin(y / 3 + rng.uniform(0, 0.3))
    picture = 120 + threads + rng.normal(0, 4, threads.shape)
    if scratched:
        start, end = rng.integers(20, 45, 2), rng.integers(75, 100, 2)  # long enough for any detector on any machine
        cv2.line(picture, tuple(map(int, start)), tuple(map(int, end)), 245.0, 4)
    return np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def write_anomaly_images(folder: Path) -> None:
    """good/, defect/ (a scratch) and a goal file."""
    for kind, count, first in (("good", 60, 0), ("defect", 12, 1000)):
        (folder / kind).mkdir()
        for number in range(count):
            cv2.imwrite(str(folder / kind / f"{number:03d}.png"), texture_image(first + number, kind == "defect"))
    (folder / "goal.toml").write_text(GOAL)


def write_goal_for(product: Path, folder: Path, *changes: tuple[str, str]) -> Path:
    """A goal file in `folder` for the images of a texture; each change replaces a text by another one.

    The texture does not move as a part, so the build is told not to look for that, which takes it seconds.
    """
    text = (product / "goal.toml").read_text()
    images = (('"good"', f'"{product}/good"'), ('"defect"', f'"{product}/defect"'))
    for old, new in (*images, *changes):
        assert old in text
        text = text.replace(old, new, 1)
    if 'task = "anomaly"' in text:
        text += '[inspect]\nalign = "none"\n'
    (folder / "goal.toml").write_text(text)
    return folder / "goal.toml"


def write_class_images(folder: Path) -> None:
    """kinds/good, kinds/scratch and kinds/spot, few of the last, and a goal file; pairs of images are groups."""
    for kind, count, first in (("good", 40, 0), ("scratch", 24, 1000), ("spot", 12, 2000)):
        (folder / "kinds" / kind).mkdir(parents=True)
        for number in range(count):
            image = texture_image(first + number, kind == "scratch")
            if kind == "spot":
                centre = np.random.default_rng(number).integers(30, 90, 2)
                cv2.circle(image, tuple(map(int, centre)), 9, (30, 30, 30), -1)
            cv2.imwrite(str(folder / "kinds" / kind / f"{number // 2:03d}-{number % 2}.png"), image)
    (folder / "goal.toml").write_text(KINDS_GOAL)


def write_behaviour_videos(folder: Path) -> None:
    """Videos in normal/ and abnormal/, a long one in which someone shakes in the middle, and a goal file."""
    for seed in range(12):
        clips.write_video(folder / "normal" / f"{seed:02}.avi", clips.yard_frames("walk", seed))
    for seed in range(6):
        kind = ("shake", "run", "back")[seed % 3]
        clips.write_video(folder / "abnormal" / f"{kind}{seed}.avi", clips.yard_frames(kind, 100 + seed))
    scenes = [
        clips.yard_frames("walk", 200, 2.0),
        clips.yard_frames("shake", 200, 3.0),
        clips.yard_frames("walk", 200, 2.0),
    ]
    clips.write_video(folder / "day.avi", [frame for scene in scenes for frame in scene])
    (folder / "goal.toml").write_text(YARD_GOAL)
