"""Cars counted by direction, by a detector that was taught with the view: each car by a detector that never saw it.

    make bench-cars BENCH_ARGS="car-detection.mp4 --network nanodet_m_320.onnx"

Four cars pass the camera of `car-detection.mp4`, seen from above, which no network of COCO knows. The road is plain and
the camera still, so the difference from the median picture marks each car. For each car a detector is built
(`use = "train"`, nothing else stated) from the frames of the other three, one class. Then the frames of the car that
was left out are looped at five frames a second in changing weather (weather.py), and the rule `crossing` counts on a
line across the middle, with the defaults of the product. Where two cars are in view, the half of the other one is
painted with the empty road. It is the same camera, so the figure is that of a detector for one place.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import click
import cv2
import numpy as np
from false_alarms import FPS, GAP, SMALL, SeenFrame
from scene_figures import play
from weather import Weather

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.inference.golden_outputs import select_backend
from vedette.runtime.inference.heads import load_head
from vedette.runtime.inference.pipeline import InferencePipeline
from vedette.runtime.rules import RuleContext

LINE = {"use": "crossing", "line": [[0.0, 0.5], [1.0, 0.5]], "labels": ["car"]}
LOOPS_OF_A_WEATHER = 20
SIZE = (512, 288)
DIFFERENT, SMALLEST = 34.0, 2500  # gray levels; pixels of a car
MIDDLE = 258  # column between the two cars that pass at once
GOAL = """\
name = "cars"
task = "detect"
[data]
images = "images"
labels = "labels"
[model]
onnx = "net.onnx"
family = "nanodet"
licence = "Apache-2.0"
[[recipe]]
use = "train"
"""


class Car(NamedTuple):
    """Frames of the recording in which a car passes, by hand."""

    first: int
    end: int
    way: str
    """As the rule tells it: seen along the line from the left of the picture to the right, `left` is up."""
    painted: slice | None
    """Columns that are painted with the empty road, because another car is there."""


CARS = {
    "white": Car(40, 130, "left", None),
    "blue": Car(172, 240, "right", slice(MIDDLE, None)),
    "red": Car(180, 255, "left", slice(None, MIDDLE)),
    "sports": Car(306, 352, "right", None),
}


def read_passages(path: Path) -> dict[str, list[tuple[Any, Any]]]:
    """Of each car the frames in which it passes alone, H x W x 3, uint8, each with its empty road."""
    video, frames = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        frames.append(read[1])
    empty = np.median(np.stack(frames[::6]), axis=0)
    level = np.median(empty.reshape(-1, 3), axis=0)
    passages: dict[str, list[tuple[Any, Any]]] = {}
    for name, car in CARS.items():
        passages[name] = []
        for frame in frames[car.first : car.end]:
            road = (empty * np.median(frame.reshape(-1, 3), axis=0) / level).clip(0, 255).astype(np.uint8)
            alone = frame.copy()
            if car.painted is not None:
                alone[:, car.painted] = road[:, car.painted]
            alone[:45, 500:] = road[:45, 500:]  # a car that waits at the edge
            passages[name].append((alone, road))
    return passages


def find_car(frame: Any, road: Any) -> tuple[int, int, int, int] | None:
    """Left, top, width and height of the car, in pixels; None: there is none."""
    difference = cv2.GaussianBlur(np.abs(frame.astype(float) - road).max(axis=2), (0, 0), 2)
    mask = (difference > DIFFERENT).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((45, 45), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
    count, _, found, _ = cv2.connectedComponentsWithStats(mask)
    largest = max(range(1, count), key=lambda number: found[number][4], default=None)
    if largest is None or found[largest][4] <= SMALLEST:
        return None
    left, top, width, height = map(int, found[largest][:4])
    return left, top, width, height


def build_without(name: str, passages: dict[str, list[tuple[Any, Any]]], network: Path, folder: Path) -> Path:
    """The bundle of a detector that never saw the car `name`."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for other, frames in passages.items():
        for number, (frame, road) in enumerate(frames if other != name else ()):
            found = find_car(frame, road)
            if found is None and number % 8:
                continue
            cv2.imwrite(str(folder / "images" / f"{other}{number:03d}.png"), frame)
            line = ""
            if found is not None:
                (left, top, wide, high), (height, width) = found, frame.shape[:2]
                line = f"0 {(left + wide / 2) / width} {(top + high / 2) / height} {wide / width} {high / height}\n"
            (folder / "labels" / f"{other}{number:03d}.txt").write_text(line)
    (folder / "labels" / "classes.txt").write_text("car\n")
    (folder / "net.onnx").write_bytes(network.read_bytes())
    (folder / "goal.toml").write_text(GOAL)
    vedette = Path(sys.executable).with_name("vedette")
    if not (folder / "keys").exists():
        subprocess.run([vedette, "keygen", folder / "keys"], check=True, capture_output=True)
    command = [
        vedette,
        "build",
        folder / "goal.toml",
        "--out",
        folder / "out",
        "--key",
        folder / "keys" / "vedette.key",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "out" / "cars.vedette"


def count_crossings(bundle: Bundle, frames: list[Any], rate: float, loops: int) -> Counter[str]:
    """How often a car crosses the line in each direction, in loops of its passage."""
    manifest = bundle.manifest
    pipeline = InferencePipeline(bundle, select_backend(bundle, "auto", 1), load_head(manifest))
    labels, normal = manifest.labels, (*manifest.normal, "unknown")
    context = RuleContext("road", manifest.model_id, manifest.decision_threshold, labels, normal)
    seen, moment, unused = [], 0.0, bytes(SMALL * round(SMALL * SIZE[1] / SIZE[0]))  # its size tells the shape
    small = [cv2.resize(frame, SIZE) for frame in frames]
    for loop in range(loops):
        if loop % LOOPS_OF_A_WEATHER == 0:
            weather, began = Weather(loop, SIZE[1], SIZE[0]), moment
        for place in np.arange(0, len(small), rate / FPS).astype(int):
            pixels = weather.change(small[place], moment - began)
            seen.append(SeenFrame(moment, unused, pipeline.predict(moment, pixels) or ()))
            moment += 1 / FPS
        moment += GAP
    told = [event.after for event in play(seen, [LINE], context) if event.kind == "new" and event.after is not None]
    return Counter(str(after.direction) for after in told)


@click.command()
@click.argument("video", type=click.Path(path_type=Path, exists=True))
@click.option("--network", type=click.Path(path_type=Path, exists=True), required=True, help="of the family nanodet")
@click.option("--loops", default=40, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/cars"), show_default=True)
def cars(video: Path, network: Path, loops: int, out: Path) -> None:
    """Count the cars of VIDEO, each by a detector that never saw it."""
    passages, rate = read_passages(video), cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FPS)
    result: dict[str, Any] = {}
    for name, car in CARS.items():
        path = out / name / "out" / "cars.vedette"
        if not path.exists():
            build_without(name, passages, network, out / name)
        bundle = Bundle.open(path, Keyring.read(out / name / "keys"))
        counted = count_crossings(bundle, [frame for frame, _ in passages[name]], rate, loops)
        result[name] = {"way": car.way, "passes": loops, "counted": counted}
        click.echo(f"{name}: {result[name]}", err=True)
    (out / "cars.json").write_text(json.dumps(result, indent=1) + "\n")
    for way in ("left", "right"):
        passes = sum(loops for car in CARS.values() if car.way == way)
        click.echo(f"{way}: {sum(each['counted'][way] for each in result.values())} counted of {passes}")


if __name__ == "__main__":
    cars()
