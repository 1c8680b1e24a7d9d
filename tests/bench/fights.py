"""`make bench-fights`: whether the motion of people tells fights from other scenes, which a rule `fight` would need.

A detector finds people in the clips of `fight` and `normal`, ten frames a second. The motion of a region is the mean
difference of gray between two frames 0.2 s apart, less the median of the picture, in units of the picture's contrast;
regions are the boxes of people, and with --pairs only the common boxes of two people who are near to each other. A clip
has the greatest mean over so many seconds. AUROC by clip, and how many fights are found where one normal clip in ten is
reported. All choices were made on these clips, so the figures are too good.

Options: --bundle FILE and --keys FOLDER, of a detector with the label `person`; --data ROOT; --pairs.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import bench_options
import click
import cv2
import numpy as np
from image_sets import markdown_table

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference.golden_outputs import select_backend
from vedette.runtime.inference.heads import load_head
from vedette.runtime.inference.pipeline import InferencePipeline
from vedette.runtime.inference.prediction import Box

RATE, SPACING, WIDTH, NEAR = 10.0, 0.2, 320, 0.2
LEAST_SCORES, WINDOWS = (0.25, 0.35, 0.5), (0.5, 1.0, 1.5)
Frames = list[tuple[float, list[tuple[float, Box]], Any]]
"""Second, people with their scores, gray picture."""


@click.command()
@click.option("--bundle", "bundle_file", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--keys", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--data", type=click.Path(path_type=Path), default=bench_options.ROOT.parent / "shared" / "data")
@click.option("--pairs", is_flag=True, help="only people who are near to each other")
def fights(bundle_file: Path, keys: Path, data: Path, pairs: bool) -> None:
    """AUROC of motion between clips of fights and other clips."""
    bundle = Bundle.open(bundle_file, Keyring.read(keys))
    pipeline = InferencePipeline(bundle, select_backend(bundle, "auto", 1), load_head(bundle.manifest, LEAST_SCORES[0]))
    clips = {
        (path, label == "fight"): read_clip(path, pipeline)
        for label in ("fight", "normal")
        for path in sorted((data / "fight" / label).glob("*.mp4"))
    }
    is_fight = np.array([fight for _, fight in clips])
    rows = []
    for least, window in itertools.product(LEAST_SCORES, WINDOWS):
        motion = np.array([greatest_motion(frames, least, window, pairs) for frames in clips.values()])
        limit = np.quantile(motion[~is_fight], 0.9)
        found = float((motion[is_fight] > limit).mean())
        rows.append([f"{least:g}", f"{window:g}", auroc(motion[~is_fight], motion[is_fight]), f"{found:.0%}"])
    click.echo(markdown_table(["least score", "seconds", "AUROC", "fights found at 10 % false alarms"], rows))


def read_clip(path: Path, pipeline: InferencePipeline) -> Frames:
    """The frames of a clip, about ten a second, with people."""
    video, frames = cv2.VideoCapture(str(path)), []
    rate = video.get(cv2.CAP_PROP_FPS)
    for number in itertools.count():
        there, pixels = video.read()
        if not there:
            return frames
        if number % max(1, round(rate / RATE)) == 0:
            people = [each for each in pipeline.predict(number / rate, pixels) or () if each.label == "person"]
            gray = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
            size = (WIDTH, round(gray.shape[0] * WIDTH / gray.shape[1]))
            small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float32)
            frames.append((number / rate, [(each.score, each.box) for each in people if each.box], small))
    return frames


def greatest_motion(frames: Frames, least: float, seconds: float, pairs: bool) -> float:
    """The greatest mean motion over so many seconds; 0: the clip is shorter."""
    found: list[tuple[float, float]] = []
    for number, (moment, people, gray) in enumerate(frames):
        earlier = min(frames[:number], key=lambda each: abs(moment - SPACING - each[0]), default=None)
        if earlier is None or abs(moment - SPACING - earlier[0]) > SPACING / 2 + 1e-6:
            continue
        difference = cv2.blur(np.abs(gray - earlier[2]), (3, 3))
        boxes = [box for score, box in people if score >= least]
        regions = [*near_pairs(boxes, gray.shape[1] / gray.shape[0]), *(() if pairs else boxes)]
        motion = [mean_inside(difference, each) for each in regions]
        found.append((moment, (max(motion, default=0.0) - float(np.median(difference))) / (float(gray.std()) + 10)))
    means = [
        np.mean([value for earlier, value in found if moment - seconds < earlier <= moment])
        for moment, _ in found
        if moment - found[0][0] >= seconds - 1.5 / RATE
    ]
    return float(max([0.0, *means]))


def near_pairs(boxes: list[Box], aspect: float) -> list[Box]:
    """Common boxes of two people of similar height with a gap of at most a fifth of it; `aspect`: width / height."""
    found = []
    for one, other in itertools.combinations(boxes, 2):
        heights = sorted((one.bottom - one.top, other.bottom - other.top))
        left, top = min(one.left, other.left), min(one.top, other.top)
        right, bottom = max(one.right, other.right), max(one.bottom, other.bottom)
        gap = aspect * (max(one.left, other.left) - min(one.right, other.right))
        is_level = max(one.top, other.top) < min(one.bottom, other.bottom)
        if heights[0] >= heights[1] / 2 and gap <= NEAR * heights[1] and is_level:
            found.append(Box(left, top, right, bottom))
    return found


def mean_inside(values: Any, box: Box) -> float:
    height, width = values.shape
    rows = slice(int(box.top * height), int(np.ceil(box.bottom * height)))
    columns = slice(int(box.left * width), int(np.ceil(box.right * width)))
    inside = values[rows, columns]
    return float(inside.mean()) if inside.size else 0.0


if __name__ == "__main__":
    fights()
