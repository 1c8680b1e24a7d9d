"""`make bench-generality`: does a choice that was made on all sets but one hold on the one left out?

Each set is taken as it is and with stated nuisances, which every image gets, good or defective, fitted or tested:

    turned    by -15 to 15 degrees
    shifted   by up to 10 % of the side, up and down, left and right
    scaled    by 0.9 to 1.1
    light     gain 0.7 to 1.3, gamma 0.7 to 1.4

The good images are divided into three folds by group; a model is fitted to two of them, and the third is tested against
the defective images. A choice is what the product decides for everybody: the number of clusters of locations, the
blocks, the reading of the map as one score. Each option is compared by its mean AUROC over the sets. The best on all
sets but one is then reported on that one, with its regret: the AUROC of the best option in hindsight, less its own.

Features are float; folds and nuisances are drawn from the seed. At most `--good` and `--defective` images of a set are
taken. It leaves `generality.json` and `generality.md` in the folder, and prints the tables.

Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --nuisances plain,turned, --good N, --defective N, --seed N,
--out FOLDER.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import bench_options
import click
import cv2
import numpy as np
import sets
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedette.compress.models import efficientnet_lite, feature_extraction
from vedette.compress.models.anomaly import load_anomaly_model, location_clusters
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference.preprocess import Preprocess

ROOT = Path(__file__).parents[2]
SIZE = 224
FOLDS = 3
NUISANCES = ["plain", "turned", "shifted", "scaled", "light"]
BLOCKS = ((4, 10), (2, 4, 10), (4, 10, 14), (4, 7), (4,))
DEFAULT = "blocks 4, 10", "8 clusters", "highest less half of the mean"
READINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "highest": lambda each: each.amax(1),
    "highest less half of the mean": lambda each: each.amax(1) - each.mean(1) / 2,
    "mean": lambda each: each.mean(1),
    "mean of the highest 2 %": lambda each: each.topk(each.shape[1] // 50, dim=1).values.mean(1),
    "mean of the highest 10 %": lambda each: each.topk(each.shape[1] // 10, dim=1).values.mean(1),
}


class ImageSet(NamedTuple):
    """Features of the images of one set with one nuisance."""

    name: str
    good: dict[int, Tensor]
    defective: dict[int, Tensor]
    groups: list[str]


def main() -> None:
    options = parse_options("Choices made on all sets but one, on the one left out.", "generality", 300, 150)
    torch.set_num_threads(2)
    found: dict[str, Any] = {"options": {key: str(value) for key, value in vars(options).items()}, "aurocs": {}}
    for name, nuisance in itertools.product(options.sets, options.nuisances):
        try:
            images = read_set(name, nuisance, options)
        except sets.Absent as reason:
            click.echo(f"{name}: skipped, {reason}", err=True)
            continue
        found["aurocs"][f"{name}, {nuisance}"] = measure(images, options.seed)
        click.echo(f"[{time.strftime('%H:%M:%S')}] {name}, {nuisance}: done", err=True)
    options.out.mkdir(parents=True, exist_ok=True)
    text = "\n".join(
        choice_table(found["aurocs"], kind, position)
        for position, kind in enumerate(("blocks", "clusters of locations", "reading of the map"))
    )
    (options.out / "generality.json").write_text(json.dumps(found, indent=2) + "\n")
    (options.out / "generality.md").write_text(text)
    click.echo(text)


def read_set(name: str, nuisance: str, options: Any) -> ImageSet:
    """The features of a set, of all blocks that any option uses."""
    rng = np.random.default_rng(options.seed)
    good, defective, groups = sets.list_images(name, options, options.seed, rng)
    blocks = tuple(sorted({block for each in BLOCKS for block in each}))
    preprocess = Preprocess(efficientnet_lite.backbone_input_spec(SIZE))

    def pixels() -> Iterator[NDArray[Any]]:
        for path in (*good, *defective):
            yield preprocess(disturb(image_files.read_image(path), nuisance, rng))

    network = efficientnet_lite.load_backbone(blocks)
    batches = feature_extraction.extract_float_features(network, pixels())
    levels = dict(zip(blocks, (torch.cat(level) for level in zip(*batches, strict=True)), strict=True))
    return ImageSet(
        f"{name}, {nuisance}",
        {block: level[: len(good)] for block, level in levels.items()},
        {block: level[len(good) :] for block, level in levels.items()},
        groups,
    )


def disturb(image: NDArray[Any], nuisance: str, rng: np.random.Generator) -> NDArray[Any]:
    """The image with a random nuisance of the kind; what comes into view mirrors the border."""
    if nuisance == "plain":
        return image
    if nuisance == "light":
        levels = (np.arange(256) / 255) ** rng.uniform(0.7, 1.4) * 255 * rng.uniform(0.7, 1.3)
        return np.asarray(cv2.LUT(image, levels.clip(0, 255).astype(np.uint8)))
    height, width = image.shape[:2]
    angle = rng.uniform(-15, 15) if nuisance == "turned" else 0.0
    scale = rng.uniform(0.9, 1.1) if nuisance == "scaled" else 1.0
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
    if nuisance == "shifted":
        matrix[:, 2] += rng.uniform(-0.1, 0.1, 2) * (width, height)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT))


def measure(images: ImageSet, seed: int) -> dict[str, float]:
    """Mean AUROC over the folds of each combination that differs from the default in one choice."""
    folds = assign_folds(images.groups, seed)
    figures: dict[str, list[float]] = {}
    for fold, blocks in itertools.product(sorted(set(folds.tolist())), BLOCKS):
        default_blocks = f"blocks {', '.join(map(str, blocks))}" == DEFAULT[0]
        for count in location_clusters.CLUSTER_COUNTS if default_blocks else (8,):
            maps = fold_maps(images, folds == fold, blocks, count)
            for reading in READINGS if default_blocks and count == 8 else (DEFAULT[2],):
                good, defective = (READINGS[reading](each).numpy() for each in maps)
                key = f"blocks {', '.join(map(str, blocks))}|{count} clusters|{reading}"
                figures.setdefault(key, []).append(auroc(good, defective))
    return {key: float(np.mean(values)) for key, values in figures.items()}


def assign_folds(groups: list[str], seed: int) -> Tensor:
    """The fold of each image; a group stays in one fold."""
    names = sorted(set(groups))
    np.random.default_rng(seed).shuffle(names)
    fold_of = {name: number % FOLDS for number, name in enumerate(names)}
    return torch.tensor([fold_of[group] for group in groups])


def fold_maps(images: ImageSet, tested: Tensor, blocks: tuple[int, ...], count: int) -> tuple[Tensor, Tensor]:
    """Anomaly maps of the good images of a fold and of the defective images, N x cells."""
    model: Any = load_anomaly_model("padim", efficientnet_lite.load_backbone(blocks), SIZE)
    model.cluster_counts = (count,)
    model.fit([images.good[block][~tested] for block in blocks], (), torch.zeros(0))
    with torch.inference_mode():
        parts = ([images.good[block][tested] for block in blocks], [images.defective[block] for block in blocks])
        good, defective = (model(part)[0].flatten(1) for part in parts)
    return good, defective


def choice_table(aurocs: dict[str, dict[str, float]], kind: str, position: int) -> str:
    """A choice as Markdown: each option's mean, and what the other sets would have chosen for each set."""
    names = list(aurocs)
    keys = [
        key
        for key in aurocs[names[0]]
        if all(part == DEFAULT[index] for index, part in enumerate(key.split("|")) if index != position)
    ]
    options = {key: key.split("|")[position] for key in keys}
    set_of = {name: name.split(", ")[0] for name in names}
    lines = [f"### The {kind}\n", "| set | " + " | ".join(options.values()) + " | chosen on the others | regret |"]
    lines.append("|" + " --- |" * (len(options) + 3))
    regrets = []
    for name in names:
        others = [other for other in names if set_of[other] != set_of[name]]
        chosen = max(keys, key=lambda key: np.mean([aurocs[other][key] for other in others]) if others else 0.0)
        regrets.append(max(aurocs[name][key] for key in keys) - aurocs[name][chosen])
        cells = [f"{aurocs[name][key]:.3f}" for key in keys]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {options[chosen]} | {regrets[-1]:.3f} |")
    means = [f"{np.mean([aurocs[name][key] for name in names]):.3f}" for key in keys]
    lines.append("| mean | " + " | ".join(means) + f" | | {np.mean(regrets):.3f} |")
    return "\n".join(lines) + f"\n\nWorst regret {max(regrets):.3f}.\n"


def parse_options(
    description: str, folder: str, good: int, defective: int, nuisances: Sequence[str] = NUISANCES
) -> Any:
    """The options of a bench over sets and nuisances, with its folder, numbers of images and nuisances by default."""
    parser = bench_options.make_parser(description, folder)
    parser.add_argument("--nuisances", type=lambda text: text.split(","), default=list(nuisances))
    parser.add_argument("--good", type=int, default=good)
    parser.add_argument("--defective", type=int, default=defective)
    parser.add_argument("--seed", type=int, default=0)
    return bench_options.parse(parser)


def measure_disturbed_sets(
    options: Any, title: str, measure: Callable[[str, str, Any], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Figures of each set under each nuisance, also written to `TITLE.json`; sets that are absent are left out.

    Args:
        options: as `parse_options` returns them
        title: of the file in `options.out`
        measure: figures of a set, from its name, the nuisance and the options
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, nuisance in itertools.product(options.sets, options.nuisances):
        try:
            rows[f"{name}, {nuisance}"] = found = measure(name, nuisance, options)
        except sets.Absent as reason:
            click.echo(f"{name}: skipped, {reason}", err=True)
            continue
        click.echo(f"[{time.strftime('%H:%M:%S')}] {name}, {nuisance}: {found}", err=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{title}.json").write_text(json.dumps(rows, indent=2) + "\n")
    return rows


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
