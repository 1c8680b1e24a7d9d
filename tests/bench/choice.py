"""`make bench-choice`: what a build loses because it chooses a detector without a defective image.

A build without a search tries a few designs on good images and drawn defects, and takes one (`compress/search`). Its
regret on a set is the AUROC of the best of these designs on the real defects, less the AUROC of the one it takes. Each
set is measured as it is and with the nuisances of `generality.py`.

The good images are divided into three folds by group; two of the folds are tested in turn, against the real defects.
The rest is what a build has: the trials divide it into three folds again and score each with images on which defects
are drawn. Drawn are the kinds of the product, and those of `structural_defects.py`. A rule of choice is

    the kinds       the product's, the structural ones, or both
    the share       only the share of the drawn defects counts that a design finds best
    the margin      the cheapest design within it of the best is taken

Each rule's regret is listed, and the regret of the rule that all other sets would have chosen. PaDiM is left out below
MIN_PADIM_IMAGES images, as in a build; one row is without this. The discriminative model is not tried: it would have to
be fitted to drawn defects, and `auto` leaves it out; its AUROC on plain sets is listed.

Features are float. It keeps each variant's figures in the folder and goes on where it stopped.

Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --nuisances plain,turned, --good N, --defective N, --seed N,
--out FOLDER.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import choice_rules
import click
import cv2
import generality
import numpy as np
import sets
import structural_defects
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedette.compress.data import synthetic_defects
from vedette.compress.models import efficientnet_lite, feature_extraction
from vedette.compress.models.design import Design
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference.preprocess import Preprocess

BLOCKS = (4, 10, 14)
FOLDS = 3
TESTED_FOLDS = (0, 1)
DRAWN = 160  # images with drawn defects of each family
FAMILIES = {"product": tuple(synthetic_defects.DEFECT_KINDS), "structural": tuple(structural_defects.KINDS)}


def main() -> None:
    options = generality.parse_options("What is lost by the choice of a detector.", "choice", 120, 60)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    variants: dict[str, choice_rules.Variant] = {}
    for nuisance, name in itertools.product(options.nuisances, options.sets):
        kept = options.out / f"{name}-{nuisance}-{options.seed}.json"
        try:
            if not kept.exists():
                kept.write_text(json.dumps(measure(name, nuisance, options)._asdict()) + "\n")
                click.echo(f"[{time.strftime('%H:%M:%S')}] {name}, {nuisance}: done", err=True)
            variants[f"{name}, {nuisance}"] = choice_rules.Variant(**json.loads(kept.read_text()))
        except sets.Absent as reason:
            click.echo(f"{name}: skipped, {reason}", err=True)
    text = choice_rules.tables(variants)
    (options.out / "choice.md").write_text(text)
    click.echo(text)


def measure(name: str, nuisance: str, options: Any) -> choice_rules.Variant:
    """Fits and scores all designs on one set with one nuisance."""
    good, defective, groups = sets.list_images(name, options, options.seed, np.random.default_rng(options.seed))
    rng = np.random.default_rng(options.seed + 100)
    preprocess = Preprocess(efficientnet_lite.backbone_input_spec(generality.SIZE))
    good_images, real_defects = (
        [preprocess(generality.disturb(image_files.read_image(path), nuisance, rng)) for path in paths]
        for paths in (good, defective)
    )
    drawn = {family: draw_defects(good_images, kinds, rng) for family, kinds in FAMILIES.items()}
    images = [*good_images, *real_defects, *(image for each in drawn.values() for image in each[0])]
    batches = feature_extraction.extract_float_features(efficientnet_lite.load_backbone(BLOCKS), images)
    features = dict(zip(BLOCKS, (torch.cat(level) for level in zip(*batches, strict=True)), strict=True))
    starts = np.cumsum([0, len(good), len(defective), DRAWN])
    masks = torch.from_numpy(drawn["product"][1])

    def score(design: Design, fitted: NDArray[Any], tested: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """Scores of rows of `features`, by a design that is fitted to the good images `fitted`."""
        model = design.create_model(efficientnet_lite.load_backbone(design.blocks))
        sources = np.arange(DRAWN) % len(good)
        drawn_rows = np.flatnonzero(np.isin(sources, fitted))
        model.fit(
            [features[block][fitted] for block in design.blocks],
            [features[block][starts[2] + drawn_rows] for block in design.blocks],
            masks[drawn_rows],
        )
        with torch.inference_mode():
            return [_read(model, [features[block][rows] for block in design.blocks]) for rows in tested]

    folds = assign_folds(groups, rng)
    real: dict[str, list[float]] = {}
    trials: dict[str, dict[str, list[float]]] = {}
    counts = []
    for fold in TESTED_FOLDS:
        fitted = np.flatnonzero(folds != fold)
        counts.append(len(fitted))
        inner = np.full(len(good), -1)
        inner[fitted] = assign_folds([groups[number] for number in fitted], rng)
        for label, design in choice_rules.DESIGNS.items():
            if label not in choice_rules.TRIED and nuisance != "plain":
                continue
            tested = [np.flatnonzero(folds == fold), np.arange(starts[1], starts[2])]
            real.setdefault(label, []).append(auroc(*score(design, fitted, tested)))
            if label not in choice_rules.TRIED:
                continue
            figures: dict[str, list[float]] = {}
            for part in range(FOLDS):
                held_out = np.flatnonzero(inner == part)
                rows = np.flatnonzero(np.isin(np.arange(DRAWN) % len(good), held_out))
                parts = [held_out, starts[2] + rows, starts[3] + rows]
                scores = score(design, np.flatnonzero((inner >= 0) & (inner != part)), parts)
                for key, value in trial_figures(*scores).items():
                    figures.setdefault(key, []).append(value)
            for key, values in figures.items():
                trials.setdefault(key, {}).setdefault(label, []).append(float(np.mean(values)))
    return choice_rules.Variant(round(float(np.mean(counts))), real, trials)


def _read(model: Any, features: list[Tensor]) -> NDArray[Any]:
    return np.asarray(model(features)[1].numpy())


def trial_figures(good: NDArray[Any], product: NDArray[Any], structural: NDArray[Any]) -> dict[str, float]:
    """AUROC of held-out good images against drawn defects, by "kinds|share"."""
    families = {"product": product, "structural": structural, "both": np.concatenate([product, structural])}
    return {
        f"{family}|{share}": auroc(good, np.sort(scores)[round(len(scores) * (1 - share)) :])
        for family, scores in families.items()
        for share in choice_rules.SHARES
    }


def assign_folds(groups: list[str], rng: np.random.Generator) -> NDArray[Any]:
    """The fold of each image; groups stay whole."""
    names = sorted(set(groups))
    rng.shuffle(names)
    fold_of = {name: number % FOLDS for number, name in enumerate(names)}
    return np.array([fold_of[group] for group in groups])


def draw_defects(
    images: list[NDArray[Any]], kinds: tuple[str, ...], rng: np.random.Generator
) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """DRAWN images with a defect of one of the kinds, and masks of them, N x 28 x 28."""
    painters = synthetic_defects.DEFECT_KINDS | structural_defects.KINDS
    drawn, masks = [], []
    for number in range(DRAWN):
        image, other = images[number % len(images)][0], images[int(rng.integers(len(images)))][0]
        kind = str(rng.choice(kinds))
        visible = 5 if kind in structural_defects.FAINT else synthetic_defects.MIN_VISIBLE_CHANGE
        for _ in range(synthetic_defects.MAX_TRIES):
            is_line = kind in ("scratch", *structural_defects.LINES)
            shape = synthetic_defects._scratch_mask if is_line else synthetic_defects._blob_mask
            region = shape(image, rng)
            painted = painters[kind](image.astype(np.float32), other.astype(np.float32), region, rng)
            defective = np.clip(painted, 0, 255).astype(np.uint8)
            changed = np.abs(defective.astype(int) - image).max(axis=2) > visible
            if changed.sum() >= synthetic_defects.MIN_CHANGED_PIXELS:
                break
        drawn.append(defective[None])
        covered = region & (cv2.dilate(changed.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
        masks.append(cv2.resize(covered.astype(np.float32), (28, 28), interpolation=cv2.INTER_AREA))
    return drawn, np.stack(masks)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
