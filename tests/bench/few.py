"""`make bench-few`: anomaly models of 1, 2, 4, 8 and 16 good images.

Of each set, a part of the groups gives the few images, drawn anew for each seed, and the rest gives the good test
images. Each model is float, over blocks 4 and 10, with the variations that a build makes of few images, or without:

    product     what `auto` takes: PatchCore below four images, PaDiM from four on, with variations
    before      PatchCore of half of the images, if they are ten or more: what `auto` took; fewer were refused

At the threshold of the product for 5 % and for 1 % false alarms, the alarms on good and on defective test images are
counted. With `--peer PYTHON`, anomalib's PaDiM and PatchCore are fitted to the same images of the first seed
(`make build/bench/anomalib-venv/ready` makes that Python). It leaves `few.json`, `few.md` and `few.svg` in the folder,
and prints the tables.

`few.json` has the excesses as well, from which few_prior.py fits what is typical of other products.

Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --good N, --defective N, --seeds 0,1, --peer PYTHON,
--out FOLDER.
"""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import bench_options
import click
import numpy as np
import sets
import torch
from accuracy import peer
from image_sets import ImageSet, divide_groups, extract, fit, markdown_table, read_set, score, write_chart
from torch import Tensor

from vedette.compress.data import few_images
from vedette.compress.data.augmentation import augment_image
from vedette.compress.evaluation.few_images_threshold import PRIORS, choose_few_images_threshold
from vedette.compress.training.cross_validation import MAX_FOLDS, VARIATIONS, log_scores, new_variations
from vedette.runtime.evaluation.metrics import auroc

ROOT = Path(__file__).parents[2]
COUNTS = (1, 2, 4, 8, 16)
TARGETS = (0.05, 0.01)
STEP = 1e-4
MODELS = ("product", "patchcore", "patchcore, variations", "padim", "padim, variations", "before")
PEERS = ("PaDiM", "PatchCore")


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in options.sets:
        try:
            images = read_set(name, options, 0)
        except sets.Absent as reason:
            click.echo(f"{name}: skipped, {reason}", err=True)
            continue
        for seed in options.seeds:
            drawn = draw(images, seed)
            for count in COUNTS:
                figures = measure(images, drawn, count)
                if options.peer is not None and seed == options.seeds[0]:
                    figures |= measure_peers(images, drawn, count, options)
                rows.append({"set": name, "seed": seed, "images": count, **figures})
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "few.json").write_text(json.dumps(rows, indent=1) + "\n")
        click.echo(f"[{time.strftime('%H:%M:%S')}] {name}: done", err=True)
    text = "\n".join((model_table(rows), set_table(rows), choice_table(rows), threshold_table(rows), peer_table(rows)))
    (options.out / "few.md").write_text(text)
    curves = {model: [_mean(rows, None, count, model) for count in COUNTS] for model in MODELS}
    write_chart(options.out / "few.svg", "AUROC, mean of the sets", "good images", list(map(str, COUNTS)), curves)
    click.echo(text)


def draw(images: ImageSet, seed: int) -> dict[str, list[int]]:
    """Indices of the few images, and of the good and the defective test images."""
    rng = np.random.default_rng(seed)
    pool = divide_groups(images.groups, 0.5, rng)
    few = rng.permutation(np.flatnonzero(pool))[: max(COUNTS)]
    good, defective = np.flatnonzero(~pool), np.arange(len(images.defective[0]))
    return {
        "few": few.tolist(),
        "good": rng.permutation(good)[:100].tolist(),
        "defective": rng.permutation(defective)[:100].tolist(),
    }


def measure(images: ImageSet, drawn: dict[str, list[int]], count: int) -> dict[str, Any]:
    """AUROC of each model of the first `count` images, and alarms at the threshold of the product."""
    few = drawn["few"][:count]
    test = [level[drawn["good"]] for level in images.good], [level[drawn["defective"]] for level in images.defective]
    plain = [level[few] for level in images.good]
    pixels = [images.good_images[index] for index in few]
    rng = np.random.default_rng(count)
    copies = few_images.count_copies(count)
    varied = [augment_image(image[0], few_images.AUGMENTATION, rng)[None] for image in pixels for _ in range(copies)]
    both = [torch.cat(pair) for pair in zip(plain, extract(varied), strict=True)]
    sources = np.r_[np.arange(count), np.repeat(np.arange(count), copies)]

    figures: dict[str, Any] = {}
    scores = {}
    for detector, (label, features) in itertools.product(("patchcore", "padim"), (("", plain), (", variations", both))):
        if detector == "padim" and len(features[0]) < 2:
            continue
        model = fit(detector, features)
        scores[detector + label] = model, tuple(score(model, part) for part in test)
        figures[detector + label] = auroc(*scores[detector + label][1])
    detector = "padim" if count >= few_images.MIN_PADIM_IMAGES else "patchcore"
    figures["product"] = figures[f"{detector}, variations"]
    if count >= 10:
        half = fit("patchcore", [level[: count // 2] for level in plain])
        figures["before"] = auroc(*(score(half, part) for part in test))

    model, (good, defective) = scores[f"{detector}, variations"]
    new = extract(new_variations(pixels, None))
    excesses = cross_validate(detector, both, sources, new)
    known = score(model, new)
    level = log_scores(np.maximum(known, STEP)).mean()
    figures["excesses"] = {
        "cross-validated": excesses.tolist(),
        "good": (log_scores(good) - level).tolist(),
        "defective": (log_scores(defective) - level).tolist(),
    }
    for target in TARGETS:
        threshold = choose_few_images_threshold(known, excesses, count, count, STEP, target, PRIORS[detector]).score
        figures[f"alarms {target}"] = float((good >= threshold).mean())
        figures[f"detected {target}"] = float((defective >= threshold).mean())
        figures[f"possible {target}"] = float((defective >= np.quantile(good, 1 - target)).mean())
    return figures


def cross_validate(detector: str, both: list[Tensor], sources: np.ndarray[Any, Any], new: list[Tensor]) -> Any:
    """The excesses of compress/training/cross_validation.py, from features that are there."""
    count = int(sources.max()) + 1
    if count == 1:
        return np.zeros(0)
    folds, new_sources = np.arange(count) % MAX_FOLDS, np.repeat(np.arange(count), VARIATIONS)
    excesses = np.zeros(count)
    for fold in range(folds.max() + 1):
        model = fit(detector, [level[torch.from_numpy(folds[sources] != fold)] for level in both])
        known = score(model, [level[torch.from_numpy(folds[new_sources] != fold)] for level in new])
        left_out = score(model, [level[:count][torch.from_numpy(folds == fold)] for level in both])
        excesses[folds == fold] = log_scores(left_out) - log_scores(known).mean()
    return excesses


def measure_peers(images: ImageSet, drawn: dict[str, list[int]], count: int, options: Any) -> dict[str, float]:
    """AUROC of anomalib's models of the same images."""
    paths = {
        "fit": [images.good_paths[index] for index in drawn["few"][:count]],
        "test": [images.good_paths[index] for index in drawn["good"]],
        "defect": [images.defective_paths[index] for index in drawn["defective"]],
    }
    figures = {}
    for model in PEERS:
        row = peer(model, paths, None, 0, options.out / model, options)
        figures[f"anomalib {model}"] = row.get("auroc", float("nan"))
    return figures


def model_table(rows: list[dict[str, Any]]) -> str:
    """Mean AUROC of each model by the number of images; in brackets the mean spread of the draws."""
    names = dict.fromkeys(row["set"] for row in rows)
    lines = []
    for model in MODELS:
        cells = [model]
        for count in COUNTS:
            mine = [row for row in rows if row["images"] == count and model in row]
            values = [[row[model] for row in mine if row["set"] == name] for name in names]
            if not all(values):
                cells.append("")
                continue
            mean, spread = (np.mean([part(each) for each in values]) for part in (np.mean, np.std))
            cells.append(f"{mean:.3f} ({spread:.3f})")
        lines.append(cells)
    title = "### AUROC by the number of good images, mean of the sets (standard deviation of the draws)\n\n"
    return title + markdown_table(["model", *map(str, COUNTS)], lines)


def set_table(rows: list[dict[str, Any]]) -> str:
    """AUROC of the product for each set, with the standard deviation of the draws."""
    lines = []
    for name in dict.fromkeys(row["set"] for row in rows):
        values = [[row["product"] for row in rows if row["set"] == name and row["images"] == n] for n in COUNTS]
        lines.append([name, *(f"{np.mean(each):.3f} ± {np.std(each):.3f}" for each in values)])
    return "### AUROC of the product\n\n" + markdown_table(["set", *map(str, COUNTS)], lines)


def choice_table(rows: list[dict[str, Any]]) -> str:
    """The model that the other sets choose for each number of images, with its regret on the set left out."""
    lines = []
    names = list(dict.fromkeys(row["set"] for row in rows))
    for count in COUNTS:
        keys = [key for key in MODELS[1:5] if count > 1 or key != "padim"]
        value = {(name, key): _mean(rows, name, count, key) for name in names for key in keys}
        chosen, regrets = [], []
        for name in names:
            best = max(keys, key=lambda key: np.mean([value[other, key] for other in names if other != name] or [0.0]))
            chosen.append(best)
            regrets.append(max(value[name, key] for key in keys) - value[name, best])
        counted = ", ".join(f"{key} ({chosen.count(key)})" for key in dict.fromkeys(chosen))
        ours = f"{'padim' if count >= few_images.MIN_PADIM_IMAGES else 'patchcore'}, variations"
        own = [max(value[name, key] for key in keys) - value[name, ours] for name in names]
        lines.append([str(count), counted, float(np.mean(regrets)), max(regrets), float(np.mean(own)), max(own)])
    heads = ["images", "chosen on the others (sets)", "mean regret", "worst", "mean regret of the product", "worst"]
    return "### The model that the other sets choose\n\n" + markdown_table(heads, lines)


def threshold_table(rows: list[dict[str, Any]]) -> str:
    """Alarms at the threshold of the product."""
    lines = []
    for target, count in itertools.product(TARGETS, COUNTS):
        names = dict.fromkeys(row["set"] for row in rows)
        alarms = [_mean(rows, name, count, f"alarms {target}") for name in names]
        detected, possible = (_mean(rows, None, count, f"{kind} {target}") for kind in ("detected", "possible"))
        lines.append([f"{target:.0%}", str(count), float(np.mean(alarms)), max(alarms), detected, possible])
    heads = ["asked", "images", "false alarms", "worst set", "detected", "possible with the best threshold"]
    return "### Alarms at the threshold of the product, mean of the sets\n\n" + markdown_table(heads, lines)


def peer_table(rows: list[dict[str, Any]]) -> str:
    """The product and anomalib's models on the images of the same draw."""
    first = [row for row in rows if f"anomalib {PEERS[0]}" in row]
    if not first:
        return ""
    lines = [
        [model, *(_mean(first, None, count, model) for count in COUNTS)]
        for model in ("product", *(f"anomalib {model}" for model in PEERS))
    ]
    title = "### Beside anomalib 2.7, one draw, mean AUROC of the sets\n\n"
    return title + markdown_table(["model", *map(str, COUNTS)], lines)


def _mean(rows: list[dict[str, Any]], name: str | None, count: int, key: str) -> float:
    """Mean over the draws, and over the sets if no set is named; not a number where the model was not fitted."""
    values = [row[key] for row in rows if row["images"] == count and name in (None, row["set"]) and key in row]
    return float(np.nanmean(values)) if values else float("nan")


def _options() -> Any:
    parser = bench_options.make_parser("Models of few good images.", "few")
    parser.add_argument("--good", type=int, default=300)
    parser.add_argument("--defective", type=int, default=150)
    parser.add_argument("--seeds", type=bench_options.numbers, default=list(range(5)))
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--patches", type=int, default=2000)
    parser.add_argument("--limit", type=int, default=600)
    return bench_options.parse(parser)


if __name__ == "__main__":
    main()
