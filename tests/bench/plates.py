"""Whether number plates are legible in evidence, and how many vehicles are hidden at all.

    make bench-plates BENCH_ARGS="DIR/images --labels DIR/labels --bundle road.vedette --keys keys"

**Legible?** On each labeled vehicle of at least `LEAST_PIXELS`, enlarged to `SIDE` pixels, a plate with seven random
characters is drawn, 0.29 of its longer side wide: that of a car that fills its box from the front, the largest that is
possible. Light, noise and JPEG are added. Two readers try, with the place of the plate given to them:

- Tesseract, if it is installed, on the plate enlarged four times;
- one that knows the font and the cells: of `CANDIDATES` plates, the right one among them, it draws each, pixelates it
  in the same way at nine places around, and takes the one whose cells correlate best; from one frame, and from ten in
  which the box lies elsewhere each time.

**Hidden?** With `--bundle`, of the labeled vehicles whose longer side has at least `LEAST_PIXELS`: how many have
`COVERED` of their area or more in what is pixelated. In smaller ones a character of the largest plate has at most four
pixels.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import click
import cv2
import msgspec
import numpy as np
from faces import open_pipeline, read_boxes

from vedette.runtime.evidence.private_boxes import VEHICLE_CELLS, PrivateBox, PrivateBoxes, cover_boxes
from vedette.runtime.evidence.thumbnail import box_slices
from vedette.runtime.inference.pipeline import InferencePipeline
from vedette.runtime.inference.prediction import Box

LEAST_PIXELS, SIDE, COVERED, CANDIDATES, FRAMES = 96, 640, 0.8, 200, 10
COVERED_CELL = 0.3  # of a cell, from which the reader compares it
VEHICLES = {2, 3, 5, 7}
"""Classes of COCO: car, motorcycle, bus, truck."""
CHARACTERS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
PLATE_SHARE, PLATE_ASPECT = 0.29, 520 / 110
COUNTS = (0, 8, 12, 16, 24, 32, 48)
"""Cells of the longer side that are tried; 0: nothing is hidden."""
SHIFTS = [(x, y) for x in (-0.02, 0, 0.02) for y in (-0.02, 0, 0.02)]
"""Errors of the reader about the place, in fractions of the width of the plate."""
WHITE, BLACK = 215, 30


def draw_plate(text: str, width: int) -> Any:
    """A plate with a text, H x W, uint8."""
    plate = np.full((110, 520), WHITE, np.uint8)
    cv2.rectangle(plate, (3, 3), (516, 106), BLACK, 3)
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 3.0, 7)
    cv2.putText(
        plate, text, ((520 - wide) // 2, (110 + high) // 2), cv2.FONT_HERSHEY_DUPLEX, 3.0, BLACK, 7, cv2.LINE_AA
    )
    return cv2.resize(plate, (width, round(width / PLATE_ASPECT)), interpolation=cv2.INTER_AREA)


def draw_text(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(CHARACTERS), 7))


def paste_plate(vehicle: Any, text: str, rng: np.random.Generator) -> tuple[Any, tuple[int, int, int]]:
    """A vehicle with a plate in the middle of its lower half, and left, top and width of the plate."""
    height, width = vehicle.shape[:2]
    wide = round(PLATE_SHARE * max(height, width))
    plate = draw_plate(text, wide)
    left, top = (width - wide) // 2, round(height * 0.7) - plate.shape[0] // 2
    shown = vehicle.astype(np.float32)
    shown[top : top + plate.shape[0], left : left + wide] = plate[..., None] * rng.uniform(0.5, 1.0)
    shown += rng.normal(0, 4, shown.shape)
    _, encoded = cv2.imencode(".jpg", shown.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR), (left, top, wide)


def read_by_tesseract(pixels: Any, place: tuple[int, int, int]) -> str:
    """What Tesseract reads at a place."""
    left, top, wide = place
    high, edge = round(wide / PLATE_ASPECT), wide // 40
    part = cv2.cvtColor(pixels[top + edge : top + high - edge, left + edge : left + wide - edge], cv2.COLOR_BGR2GRAY)
    part = cv2.GaussianBlur(cv2.resize(part, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), (0, 0), 2)
    _, part = cv2.threshold(part, 0, 255, cv2.THRESH_OTSU)
    _, encoded = cv2.imencode(".png", cv2.copyMakeBorder(part, 30, 30, 30, 30, cv2.BORDER_CONSTANT, value=255))
    options = ["--psm", "8", "-c", f"tessedit_char_whitelist={CHARACTERS}"]
    done = subprocess.run(["tesseract", "-", "-", *options], input=encoded.tobytes(), capture_output=True, check=True)
    return done.stdout.decode().strip().replace(" ", "")


def correlate(pixels: Any, place: tuple[int, int, int], box: Box, texts: list[str], cells: int) -> Any:
    """How well the cells of a picture correlate with those of each text, at the best of some places around."""
    left, top, wide = place
    rows, columns = box_slices(box, pixels.shape)
    part = cv2.cvtColor(pixels[rows, columns], cv2.COLOR_BGR2GRAY)
    height, width = part.shape
    cell = max(height, width) / cells
    down, across = (cell_weights(size, max(1, round(size / cell))) for size in (height, width))
    observed = cv2.resize(part, (len(across), len(down)), interpolation=cv2.INTER_AREA).astype(float)
    plates = np.stack([draw_plate(text, wide) for text in texts]).astype(float) - WHITE
    found = np.full(len(texts), -1.0)
    for x, y in SHIFTS:
        first = left + round(x * wide) - columns.start, top + round(y * wide) - rows.start
        upper, sides = (
            weights[:, max(at, 0) : at + size]
            for weights, at, size in ((down, first[1], plates.shape[1]), (across, first[0], wide))
        )
        covered = np.outer(upper.sum(axis=1), sides.sum(axis=1)) > COVERED_CELL
        if covered.sum() < 3:
            continue
        expected = (upper @ plates[:, -upper.shape[1] :, -sides.shape[1] :] @ sides.T)[:, covered]
        seen = observed[covered] - observed[covered].mean()
        expected -= expected.mean(axis=1, keepdims=True)
        size = np.linalg.norm(expected, axis=1) * np.linalg.norm(seen)
        found = np.maximum(found, expected @ seen / np.maximum(size, 1e-9))
    return found


def cell_weights(size: int, cells: int) -> Any:
    """What each pixel of a line is worth in the mean of each cell; cells, pixels."""
    edges, pixels = np.linspace(0, size, cells + 1), np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(overlap, 0) * cells / size


def cover_vehicle(pixels: Any, box: Box, cells: int) -> Any:
    """A picture with a vehicle pixelated, its longer side to some cells."""
    rows, columns = box_slices(box, pixels.shape)
    longer = max(rows.stop - rows.start, columns.stop - columns.start)
    return cover_boxes(pixels, [PrivateBox(rows, columns, longer / cells)])


def jitter(rng: np.random.Generator) -> Box:
    """The box of a vehicle that fills the picture, as a detector finds it."""
    return Box(*map(float, np.array([0, 0, 1, 1]) + rng.uniform(-0.03, 0.03, 4)))


def read_vehicles(images: Path, labels: Path) -> Iterator[tuple[Path, Any, list[Box]]]:
    """Pictures with their labeled vehicles of at least `LEAST_PIXELS`."""
    for path in sorted(images.rglob("*.jpg")):
        pixels = cv2.imread(str(path))
        height, width = pixels.shape[:2]
        boxes = [
            box
            for box in read_boxes(labels / f"{path.stem}.txt", VEHICLES)
            if max((box.right - box.left) * width, (box.bottom - box.top) * height) >= LEAST_PIXELS
        ]
        if boxes:
            yield path, pixels, boxes


def measure_legibility(vehicles: list[Any], plates: int, candidates: int) -> dict[str, Any]:
    """Share of plates that each reader reads, and characters of seven, by the number of cells."""
    result: dict[str, Any] = {"plates": plates, "vehicles": len(vehicles), "candidates": candidates, "cells": {}}
    for cells in COUNTS:
        rng = np.random.default_rng(0)
        rows = []
        for vehicle in islice(cycle(vehicles), plates):
            texts = [draw_text(rng) for _ in range(candidates)]
            row: dict[str, Any] = {}
            total = np.zeros(candidates)
            for frame in range(FRAMES if cells else 1):
                shown, place = paste_plate(vehicle, texts[0], rng)
                box = jitter(rng)
                hidden = cover_vehicle(shown, box, cells) if cells else shown
                if frame == 0 and shutil.which("tesseract"):
                    read = read_by_tesseract(hidden, place)
                    row["characters"] = sum(a == b for a, b in zip(read, texts[0], strict=False))
                    row["tesseract"] = read == texts[0]
                if cells:
                    total += correlate(hidden, place, box, texts, cells)
                    if frame in (0, FRAMES - 1):
                        row[f"known font, {frame + 1} frames"] = bool(total[0] > total[1:].max())
            rows.append(row)
        result["cells"][cells] = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        click.echo(f"{cells} cells: {result['cells'][cells]}", err=True)
    return result


def measure_recall(pipeline: InferencePipeline, pictures: list[tuple[Path, Any, list[Box]]]) -> dict[str, Any]:
    """Labeled vehicles that are hidden with a bundle."""
    private, rows = PrivateBoxes(hides_plates=True), []
    for number, (path, pixels, boxes) in enumerate(pictures):
        height, width = pixels.shape[:2]
        mask = np.zeros((height, width), bool)
        for rows_hidden, columns, _ in private.find_in_frame(pipeline.predict(float(number), pixels) or (), mask.shape):
            mask[rows_hidden, columns] = True
        for box in boxes:
            place = box_slices(box, pixels.shape)
            side = max((box.right - box.left) * width, (box.bottom - box.top) * height)
            rows.append({"image": path.name, "pixels": round(side), "hidden": bool(mask[place].mean() >= COVERED)})
    result: dict[str, Any] = {"rows": rows}
    for low, high in ((LEAST_PIXELS, 160), (160, 320), (320, 1 << 20), (LEAST_PIXELS, 1 << 20)):
        hits = [row["hidden"] for row in rows if low <= row["pixels"] < high]
        result[f"{low} to {high} pixels"] = [sum(hits), len(hits)]
    return result


@click.command()
@click.argument("images", type=click.Path(path_type=Path, exists=True))
@click.option("--labels", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--bundle", "bundle_file", type=click.Path(path_type=Path, exists=True), help="measure hidden vehicles")
@click.option("--keys", type=click.Path(path_type=Path, exists=True))
@click.option("--candidates", default=CANDIDATES, show_default=True)
@click.option("--plates", "count", default=60, show_default=True, help="plates that are drawn, on each vehicle in turn")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/plates.json"), show_default=True)
def plates(
    images: Path, labels: Path, bundle_file: Path | None, keys: Path | None, candidates: int, count: int, out: Path
) -> None:
    """Measure whether number plates can be read in IMAGES."""
    pictures = list(read_vehicles(images, labels))
    result: dict[str, Any] = {"cells_in_use": VEHICLE_CELLS}
    if bundle_file is not None and keys is not None:
        result["recall"] = measure_recall(open_pipeline(bundle_file, keys), pictures)
        click.echo(json.dumps({key: each for key, each in result["recall"].items() if key != "rows"}, indent=1))
    cut = []
    for _, pixels, boxes in pictures:
        for box in boxes:
            part = pixels[box_slices(box, pixels.shape)]
            scale = SIDE / max(part.shape[:2])
            part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            if part.shape[1] >= 1.2 * PLATE_SHARE * SIDE and part.shape[0] >= SIDE / 4:
                cut.append(part)
    result["legibility"] = measure_legibility(cut, count, candidates)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.encode(result))
    click.echo(json.dumps(result["legibility"], indent=1))


if __name__ == "__main__":
    plates()
