"""Sets of frames of a fixed camera, some with a small object that does not belong there.

The frames come from the clips in `videos` below the data root, the objects from boxes of coco128: parts of pictures of
everyday things, 5 to 14 % of the frame's height, with soft edges and the frame's mean brightness. So neither the place,
nor the size, nor the kind of the defects was chosen by anyone who chose the product's constants. Frames are taken at
equal distances in time. Runs of neighboring frames are a group; of every three runs, two are good and one gets objects.

Nothing of the data is kept in the project: the pictures are made anew in the bench's folder, always the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

CLIPS = {
    "scene-bottles": "bottle-detection",
    "scene-cars": "car-detection",
    "scene-persons": "one-by-one-person-detection",
}
FRAMES = 240
RUN = 8  # neighboring frames of a group
HEIGHT = 360  # pixels
MIN_OBJECT_PIXELS = 24  # height and width of a box that is worth pasting

GOAL = """\
name = "{name}"
task = "anomaly"
[data]
good = "{folder}/good"
defect = "{folder}/defect"
mask = "{folder}/mask"
group = '^run(\\d+)'
name = "frames with pasted objects (intel-iot-devkit/sample-videos, coco128)"
licence = "CC BY 4.0; COCO terms"
[goal]
min_auroc = 0.80
max_drop = 0.02
false_alarm_rate = 0.05
"""


def write_scene(name: str, root: Path, folder: Path) -> Path | None:
    """The set as PNG files in `folder`; those that are there already stay. None if the data is absent."""
    clip, pictures = root / "videos" / f"{CLIPS[name]}.mp4", root / "coco128"
    if not clip.is_file() or not pictures.is_dir():
        return None
    if (folder / "complete").exists():
        return folder
    for label in ("good", "defect", "mask"):
        (folder / label).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(CLIPS).index(name))
    objects = list(_read_objects(pictures))
    for number, frame in enumerate(_read_frames(clip)):
        run = number // RUN
        file = f"run{run:03d}-frame{number:04d}.png"
        if run % 3 < 2:
            cv2.imwrite(str(folder / "good" / file), frame)
            continue
        pasted, mask = paste_object(frame, objects[int(rng.integers(len(objects)))], rng)
        cv2.imwrite(str(folder / "defect" / file), pasted)
        cv2.imwrite(str(folder / "mask" / file), mask)
    (folder / "complete").touch()
    return folder


def paste_object(
    frame: NDArray[Any], thing: NDArray[Any], rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The frame with the object at a random place, and the mask of its pixels (0 or 255)."""
    height = round(frame.shape[0] * rng.uniform(0.05, 0.14))
    width = round(min(max(height * thing.shape[1] / thing.shape[0], height / 2), 2 * height))
    small = np.asarray(cv2.resize(thing, (width, height), interpolation=cv2.INTER_AREA)).astype(np.float32)
    top, left = (int(rng.integers(0, frame.shape[axis] - (height, width)[axis])) for axis in (0, 1))
    place = (slice(top, top + height), slice(left, left + width))
    small *= float(np.clip((frame.mean() + 1) / (small.mean() + 1), 0.5, 2.0))
    down, right = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    inside = np.clip((1 - np.hypot(down, right)) * height / 4, 0, 1)[..., None]
    pasted, mask = frame.copy(), np.zeros(frame.shape[:2], np.uint8)
    pasted[place] = (frame[place] * (1 - inside) + small.clip(0, 255) * inside).round().astype(np.uint8)
    mask[place] = (inside[..., 0] > 0.5) * 255
    return pasted, mask


def _read_frames(clip: Path) -> Iterator[NDArray[Any]]:
    video = cv2.VideoCapture(str(clip))
    chosen = set(np.linspace(0, video.get(cv2.CAP_PROP_FRAME_COUNT) - 1, FRAMES).round().astype(int).tolist())
    for number in range(max(chosen) + 1):
        read, frame = video.read()
        if read and number in chosen:
            width = round(frame.shape[1] * HEIGHT / frame.shape[0])
            yield np.asarray(cv2.resize(frame, (width, HEIGHT), interpolation=cv2.INTER_AREA))


def _read_objects(pictures: Path) -> Iterator[NDArray[Any]]:
    for labels in sorted((pictures / "labels").glob("*.txt")):
        picture = pictures / "images" / f"{labels.stem}.jpg"
        if not picture.is_file():
            continue
        image = np.asarray(cv2.imread(str(picture)))
        for line in labels.read_text().splitlines():
            x, y, width, height = (float(number) for number in line.split()[1:5])
            left, right = (round((x + side * width / 2) * image.shape[1]) for side in (-1, 1))
            top, bottom = (round((y + side * height / 2) * image.shape[0]) for side in (-1, 1))
            thing = image[max(top, 0) : bottom, max(left, 0) : right]
            if min(thing.shape[:2]) >= MIN_OBJECT_PIXELS:
                yield thing
