"""`make bench-alignment`: what alignment and the region of interest are worth, on sets whose parts move.

Each development set is taken as it is and with a nuisance that every image gets, good or defective, fitted or tested:
those of generality.py, and

    large     pasted into a plain frame with twice the sides, at a random place; the part keeps its pixels

The good images are divided into three folds by group. For each, the inspection is found on two folds as a build finds
it (compress/data/part_alignment.py), PaDiM is fitted to float features at 224 pixels, and the third fold is tested
against the defective images. Compared are whole images and what the build decides (`auto`). An image in which the part
is not found has the highest score. It prints a table, and leaves `alignment.json` and `alignment.md` in the folder.

Options: as generality.py.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import cv2
import generality
import numpy as np
import sets
import torch
from numpy.typing import NDArray

from vedette.compress.data import part_alignment
from vedette.compress.goal.inspection_settings import InspectionSettings
from vedette.compress.models import efficientnet_lite, feature_extraction
from vedette.compress.models.anomaly import load_anomaly_model
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference.inspector import Inspector
from vedette.runtime.inference.preprocess import Preprocess
from vedette.runtime.progress import no_log, no_progress

BLOCKS = (4, 10)


def main() -> None:
    options = generality.parse_options(
        "What alignment and the region of interest are worth.", "alignment", 300, 150, [*generality.NUISANCES, "large"]
    )
    torch.set_num_threads(2)
    rows = generality.measure_disturbed_sets(options, "alignment", measure)
    text = render_table(rows)
    (options.out / "alignment.md").write_text(text)
    click.echo(text)


def measure(name: str, nuisance: str, options: Any) -> dict[str, Any]:
    """Mean AUROC over the folds, of whole images and as the build decides, and what it decided."""
    rng = np.random.default_rng(options.seed)
    good, defective, groups = sets.list_images(name, options, options.seed, rng)
    folds = generality.assign_folds(groups, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        moved = [Path(folder) / f"{index:04d}.png" for index in range(len(good) + len(defective))]
        for source, target in zip([*good, *defective], moved, strict=True):
            cv2.imwrite(str(target), disturb(image_files.read_image(source), nuisance, rng))
        return compare(moved[: len(good)], moved[len(good) :], folds.numpy())


def compare(good: Sequence[Path], defective: Sequence[Path], folds: NDArray[Any]) -> dict[str, Any]:
    """As `measure`, of image files."""
    whole, found, decisions = [], [], []
    whole_levels, _ = extract([*good, *defective], None)
    for fold in range(generality.FOLDS):
        fitted = [path for path, each in zip(good, folds, strict=True) if each != fold]
        inspector, _ = part_alignment.fit_inspector(InspectionSettings(), fitted, no_progress, no_log)
        whole.append(score(whole_levels, np.ones(len(good) + len(defective), bool), folds, fold))
        if inspector is None:
            found.append(whole[-1])
            decisions.append("none")
        else:
            found.append(score(*extract([*good, *defective], inspector), folds, fold))
            alignment = inspector.settings.alignment
            decisions.append((alignment.motion if alignment else "none") + (", cut" * bool(inspector.settings.region)))
    return {
        "whole": float(np.mean(whole)),
        "auto": float(np.mean(found)),
        "decisions": max(sorted(set(decisions)), key=decisions.count),
    }


def extract(paths: Sequence[Path], inspector: Inspector | None) -> tuple[list[torch.Tensor], NDArray[Any]]:
    """The features of the images by level, and in which of them the part was found."""
    preprocess = Preprocess(efficientnet_lite.backbone_input_spec(generality.SIZE), inspector)
    views = [preprocess.inspect(image_files.read_image(path)) for path in paths]
    batches = feature_extraction.extract_float_features(
        efficientnet_lite.load_backbone(BLOCKS), (tensor for tensor, _ in views)
    )
    levels = [torch.cat(level) for level in zip(*batches, strict=True)]
    return levels, np.array([placement.found for _, placement in views])


def score(levels: list[torch.Tensor], is_found: NDArray[Any], folds: NDArray[Any], fold: int) -> float:
    """AUROC of the good images of a fold against the defective ones."""
    count = len(folds)
    fitted = np.flatnonzero((folds != fold) & is_found[:count])
    model: Any = load_anomaly_model("padim", efficientnet_lite.load_backbone(BLOCKS), generality.SIZE)
    model.fit([level[fitted] for level in levels], (), torch.zeros(0))
    with torch.inference_mode():
        scores = model(levels)[1].numpy()
    scores[~is_found] = np.inf
    return auroc(scores[:count][folds == fold], scores[count:])


def disturb(image: NDArray[Any], nuisance: str, rng: np.random.Generator) -> NDArray[Any]:
    """The image with a random nuisance of the kind."""
    if nuisance != "large":
        return generality.disturb(image, nuisance, rng)
    height, width = image.shape[:2]
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    frame = np.median(border, axis=0) + rng.normal(0, 2, (2 * height, 2 * width, 3))
    top, left = rng.integers(0, height), rng.integers(0, width)
    frame[top : top + height, left : left + width] = image
    return np.asarray(frame.clip(0, 255), np.uint8)


def render_table(rows: dict[str, dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    lines = ["| set | whole image | as the build decides | decision |", "| --- | --- | --- | --- |"]
    for name, row in rows.items():
        lines.append(f"| {name} | {row['whole']:.3f} | {row['auto']:.3f} | {row['decisions']} |")
    means = [np.mean([row[key] for row in rows.values()]) for key in ("whole", "auto")]
    return "\n".join([*lines, f"| mean | {means[0]:.3f} | {means[1]:.3f} | |"]) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
