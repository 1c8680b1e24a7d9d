"""`make bench-resolution`: squares, rectangles with the images' aspect ratio, letterboxes and tiles at equal pixels.

PaDiM is fitted to float features of two folds of good images, and the third is tested against the defective images, as
in generality.py. Compared are

    square     squeezed to a square, 192 to 448 pixels
    rectangle  about as many pixels in the shape of most images of the set (compress/models/image_size.py)
    letterbox  224 pixels, the aspect ratio kept, gray below or at the right
    tiles      2 x 2 tiles of 224 pixels that overlap by an eighth; each has statistics of its own, and the score reads
               the cells of all tiles: the cost of a square of 448 pixels

A rectangle is told with its gain over a square with as many pixels, interpolated between the squares. Whether a set
should take squares or rectangles is chosen on all other sets and told with its regret.

It prints the tables, and leaves `resolution.json` and `resolution.md` in the folder. Options: as generality.py, and the
nuisance `large` of alignment.py.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import alignment
import click
import cv2
import generality
import image_sets
import numpy as np
import sets
import torch
from numpy.typing import NDArray

from vedette.compress.models import efficientnet_lite, feature_extraction
from vedette.compress.models.anomaly import load_anomaly_model
from vedette.compress.models.image_size import ImageSize, describe, fit_aspect_ratio
from vedette.runtime.bundle.manifest import ModelInput
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference.preprocess import Preprocess

BLOCKS, SIDES, SIDE, OVERLAP = (4, 10), (192, 224, 256, 320, 448), 224, 0.125
DRAWS = 2
SHAPED = (224, 256, 320)  # sides of the squares beside which rectangles are told
RECTANGLE, LETTERBOX, TILES = "rectangle ", f"letterbox {SIDE}", f"2 x 2 tiles of {SIDE}"
View = Callable[[NDArray[Any]], list[NDArray[Any]]]
"""An image -> the tensors that the model sees of it, 1 x H x W x 3 each."""


def main() -> None:
    options = generality.parse_options(
        "Squares, rectangles, letterboxes and tiles.", "resolution", 180, 120, [*generality.NUISANCES, "large"]
    )
    rows = generality.measure_disturbed_sets(options, "resolution", measure)
    text = f"{table(rows)}\n{choices(rows)}\n"
    (options.out / "resolution.md").write_text(text)
    click.echo(text)


def measure(name: str, nuisance: str, options: Any) -> dict[str, float]:
    """Mean AUROC over the draws and folds of each way to show the images of a set to the model."""
    rng = np.random.default_rng(options.seed)
    good, defective, groups = sets.list_images(name, options, options.seed, rng)
    images = [alignment.disturb(image_files.read_image(path), nuisance, rng) for path in (*good, *defective)]
    ratio = float(np.median([image.shape[1] / image.shape[0] for image in images]))
    found: dict[str, float] = {}
    draws = [generality.assign_folds(groups, options.seed + draw) for draw in range(DRAWS)]
    for label, size, view in list_views(ratio):
        if label not in found:
            levels = extract(images, view)
            aurocs = [score(levels, size, folds, fold) for folds in draws for fold in range(generality.FOLDS)]
            found[label] = float(np.mean(aurocs))
    return found


def list_views(ratio: float) -> list[tuple[str, ImageSize, View]]:
    """The ways to show an image of this aspect ratio: a label, the size of the input, and what it shows."""
    views: list[tuple[str, ImageSize, View]] = []
    for side in SIDES:
        size = fit_aspect_ratio(side, ratio)
        views.append((f"square {side}", side, scaled(efficientnet_lite.backbone_input_spec(side))))
        views.append((f"{RECTANGLE}{describe(size)}", size, scaled(efficientnet_lite.backbone_input_spec(size))))
    spec = efficientnet_lite.backbone_input_spec(SIDE)
    letterbox = ModelInput(spec.name, SIDE, SIDE, spec.mean, spec.std, spec.scale, spec.zero_point, "letterbox")
    return [*views, (LETTERBOX, SIDE, scaled(letterbox)), (TILES, SIDE, cut_tiles)]


def scaled(spec: ModelInput) -> View:
    """The whole image, as the runtime shows it to a model with this input."""
    preprocess = Preprocess(spec)
    return lambda image: [preprocess(image)]


def cut_tiles(image: NDArray[Any]) -> list[NDArray[Any]]:
    """Four overlapping tiles that cover the image."""
    step = round(SIDE * (1 - OVERLAP))
    whole = Preprocess(efficientnet_lite.backbone_input_spec(SIDE + step))(image)
    corners = itertools.product((0, step), (0, step))
    return [np.ascontiguousarray(whole[:, top : top + SIDE, left : left + SIDE]) for top, left in corners]


def extract(images: list[NDArray[Any]], view: View) -> list[list[torch.Tensor]]:
    """Features by tile and level, N x C x H x W."""
    network = efficientnet_lite.load_backbone(BLOCKS)
    shown = list(zip(*(view(image) for image in images), strict=True))
    tiles = [feature_extraction.extract_float_features(network, iter(tile)) for tile in shown]
    return [[torch.cat(level) for level in zip(*batches, strict=True)] for batches in tiles]


def score(tiles: list[list[torch.Tensor]], size: ImageSize, folds: torch.Tensor, fold: int) -> float:
    """AUROC of the good images of a fold against the defective ones; the score reads the cells of all tiles."""
    count, maps = len(folds), []
    tested = torch.cat([(folds == fold).nonzero()[:, 0], torch.arange(count, len(tiles[0][0]))])
    for levels in tiles:
        model: Any = load_anomaly_model("padim", efficientnet_lite.load_backbone(BLOCKS), size)
        model.fit([level[:count][folds != fold] for level in levels], (), torch.zeros(0))
        with torch.inference_mode():
            maps.append(model([level[tested] for level in levels])[0].flatten(1))
    cells = torch.cat(maps, dim=1)
    scores = (cells.amax(1) - cells.mean(1) / 2).numpy()
    good = int((folds == fold).sum())
    return auroc(scores[:good], scores[good:])


def table(rows: dict[str, dict[str, float]]) -> str:
    """A row for each set, as a Markdown table."""
    heads = ["set", *map(str, SIDES), *(f"about {side}² pixels" for side in SHAPED), LETTERBOX, TILES]
    lines: list[list[Any]] = []
    for name, row in rows.items():
        gains = rectangle_gains(row)
        cells = [f"{label.removeprefix(RECTANGLE)}: {row[label]:.3f} ({gain:+.3f})" for label, gain in gains]
        squares = [row[f"square {side}"] for side in SIDES]
        lines.append([name, *squares, *(cells or [""] * len(SHAPED)), row[LETTERBOX], row[TILES]])
    return image_sets.markdown_table(heads, lines)


def rectangle_gains(row: dict[str, float]) -> list[tuple[str, float]]:
    """For each of SHAPED, the rectangle of about as many pixels and its gain over such a square; none for squares."""
    sides = {label: label.removeprefix(RECTANGLE).split(" x ") for label in row if label.startswith(RECTANGLE)}
    log_pixels = {label: sum(math.log(int(side)) for side in pair) for label, pair in sides.items() if len(pair) == 2}
    if not log_pixels:
        return []
    squares = [row[f"square {side}"] for side in SIDES]
    nearest = [min(log_pixels, key=lambda label: abs(log_pixels[label] - 2 * math.log(side))) for side in SHAPED]
    return [
        (label, row[label] - float(np.interp(log_pixels[label], [2 * math.log(side) for side in SIDES], squares)))
        for label in nearest
    ]


def choices(rows: dict[str, dict[str, float]]) -> str:
    """Squares or rectangles, chosen on the other sets that have rectangles, and the regret, as a Markdown table."""
    gains = {name: [gain for _, gain in rectangle_gains(row)] for name, row in rows.items()}
    gains = {name: own for name, own in gains.items() if own}
    set_of = {name: name.split(", ")[0] for name in gains}
    lines: list[list[Any]] = []
    for name, own in gains.items():
        others = [each for other, each in gains.items() if set_of[other] != set_of[name]]
        cells = []
        for position, gain in enumerate(own):
            takes = bool(others) and float(np.mean([each[position] for each in others])) > 0
            cells.append(f"{'rectangle' if takes else 'square'}, {max(0.0, -gain if takes else gain):.3f}")
        lines.append([name, *cells])
    return image_sets.markdown_table(["set", *(f"about {side}² pixels: chosen, regret" for side in SHAPED)], lines)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    cv2.setNumThreads(1)
    main()
