"""`make bench-golden`: the detector `golden` beside what `auto` takes, of 1, 2, 4, 8 and 16 good images and of more.

The sets are three drawn boards that lie still, the same ones loose and aligned (`[inspect] align = "rigid"`, found on
four good images), the development sets, and four of these with a missing, moved or doubled piece in good test images
(`structural_defects.py`). Whole groups are tested that gave no image to fit. Up to 16 images are fitted with the
variations that a build makes of few images, more without.

    auto            what a build takes of few images: PatchCore below four, PaDiM from four on, both over blocks 4, 10
    golden          the model as it is, over its default blocks
    golden, …       with one choice changed

It leaves `golden.json` and `golden.md` in the folder, goes on where it stopped, and prints the tables: the models by
the number of images and kind of set, then each choice of the golden sample, made on all other sets, with its regret.

Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --good N, --defective N, --seeds 0,1, --counts 1,2,
--out FOLDER.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import bench_options
import boards
import choice
import click
import cv2
import image_sets
import numpy as np
import sets
import torch
from image_sets import SIZE, divide_groups, markdown_table, score
from numpy.typing import NDArray
from torch import Tensor

from vedette.compress.data import few_images
from vedette.compress.data.augmentation import augment_image
from vedette.compress.data.part_alignment import fit_inspector
from vedette.compress.goal.augmentation_settings import AugmentationSettings
from vedette.compress.goal.inspection_settings import InspectionSettings
from vedette.compress.models import efficientnet_lite
from vedette.compress.training import cross_validation
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference.preprocess import Preprocess
from vedette.runtime.progress import no_log, no_progress

BLOCKS = (2, 4, 10)
REST = 0  # as a count: all images of the part to fit
STRUCTURAL = ("missing", "moved", "doubled")
DRAWN_ON = ("cookies", "aliens", "ballscrew", "elpv-mono")
BOARDS = tuple(f"board{number} {kind}" for kind in ("still", "aligned") for number in range(3))
ALL_SETS = (*BOARDS, *sets.SETS, *(f"{name} drawn" for name in DRAWN_ON))
DEFECTS_OF_A_KIND = 9
GOOD_BOARDS = 60
MODELS: dict[str, tuple[str, tuple[int, ...], dict[str, float]]] = {
    "PatchCore": ("patchcore", (4, 10), {}),
    "PaDiM": ("padim", (4, 10), {}),
    "PaDiM, blocks 2, 4": ("padim", (2, 4), {}),
    "golden": ("golden", (2, 4), {}),
    "golden, blocks 4, 10": ("golden", (4, 10), {}),
    "golden, blocks 2, 4, 10": ("golden", (2, 4, 10), {}),
    "golden, one reference": ("golden", (2, 4), {"max_references": 1}),
    "golden, prior of 5 images": ("golden", (2, 4), {"prior_weight": 5.0}),
    "golden, prior of 80 images": ("golden", (2, 4), {"prior_weight": 80.0}),
}
OWN = tuple(name for name in MODELS if name.startswith("golden"))


class Images(NamedTuple):
    """Images of 1 x SIZE x SIZE x 3, uint8."""

    good: list[NDArray[Any]]
    defective: list[NDArray[Any]]
    groups: list[str]
    sources: list[int]
    """The good image that each defective one was drawn on; empty if none was."""


def main() -> None:
    parser = bench_options.make_parser("The golden sample.", "golden")
    parser.set_defaults(sets=list(ALL_SETS))
    parser.add_argument("--good", type=int, default=100)
    parser.add_argument("--defective", type=int, default=60)
    parser.add_argument("--seeds", type=bench_options.numbers, default=[0, 1])
    parser.add_argument("--counts", type=bench_options.numbers, default=[1, 2, 4, 8, 16, REST])
    options = bench_options.parse(parser, ALL_SETS)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "golden.json"
    rows: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else []
    for seed in options.seeds:
        for name in options.sets:
            if any(row["set"] == name and row["seed"] == seed for row in rows):
                continue
            try:
                rows += measure(name, seed, options)
            except sets.Absent as reason:
                click.echo(f"{name}: skipped, {reason}", err=True)
                continue
            kept.write_text(json.dumps(rows, indent=1) + "\n")
            click.echo(f"[{time.strftime('%H:%M:%S')}] {name}, seed {seed}: done", err=True)
    text = tables(rows)
    (options.out / "golden.md").write_text(text)
    click.echo(text)


def measure(name: str, seed: int, options: Any) -> list[dict[str, Any]]:
    """AUROC of each model of each number of images."""
    images = read_images(name, seed, options)
    rng = np.random.default_rng(seed)
    pool = divide_groups(images.groups, 0.5, rng)
    order, held_out = rng.permutation(np.flatnonzero(pool)), np.flatnonzero(~pool)
    tested = np.array([row for row, source in enumerate(images.sources) if not pool[source]], int)
    if not images.sources:
        tested = np.arange(len(images.defective))
    levels = extract([*images.good, *images.defective])
    test = [{block: each[rows] for block, each in levels.items()} for rows in (held_out, len(images.good) + tested)]
    rows = []
    for count in options.counts:
        few = order[: count or None]
        if count and len(few) < count:
            continue
        plain = {block: each[few] for block, each in levels.items()}
        pixels = [images.good[index] for index in few]
        fitted = {
            settings: plain | (add_variations(plain, pixels, settings) if count else {})
            for settings in (few_images.AUGMENTATION, few_images.FIXED_PARTS)
        }
        row: dict[str, Any] = {"set": name, "seed": seed, "images": count, "fitted": len(few)}
        for model, (detector, blocks, settings) in MODELS.items():
            own = few_images.FIXED_PARTS if detector == "golden" else few_images.AUGMENTATION
            good = [fitted[own][block] for block in blocks]
            candidates = {"candidates": torch.arange(len(good[0])) < len(few)} if detector == "golden" else {}
            fit = image_sets.fit(detector, good, blocks, **settings, **candidates)
            scores = [score(fit, [part[block] for block in blocks]) for part in test]
            row[model] = auroc(*scores)
            if model == "golden" and count:
                new = extract(cross_validation.new_variations(pixels, few_images.FIXED_PARTS))
                known = score(fit, [new[block] for block in blocks])
                excesses = cross_validation.log_scores(scores[0]) - cross_validation.log_scores(known).mean()
                row |= {"excess": float(excesses.mean()), "spread of the excess": float(excesses.std())}
        rows.append(row)
    return rows


def add_variations(
    plain: dict[int, Tensor], pixels: list[NDArray[Any]], settings: AugmentationSettings
) -> dict[int, Tensor]:
    """The features of images and of their variations, by block."""
    draw, copies = np.random.default_rng(len(pixels)), few_images.count_copies(len(pixels))
    varied = [augment_image(each[0], settings, draw)[None] for each in pixels for _ in range(copies)]
    return {block: torch.cat([plain[block], each]) for block, each in extract(varied).items()}


def extract(images: list[NDArray[Any]]) -> dict[int, Tensor]:
    """Features of images, by block."""
    return dict(zip(BLOCKS, image_sets.extract(images, BLOCKS), strict=True))


def read_images(name: str, seed: int, options: Any) -> Images:
    """The images of a set; the seed draws which ones of a large set."""
    if name in BOARDS:
        return read_boards(name, options)
    plain = name.removesuffix(" drawn")
    rng = np.random.default_rng(seed)
    good, defective, groups = sets.list_images(plain, options, seed, rng)
    preprocess = Preprocess(efficientnet_lite.backbone_input_spec(SIZE))
    shown, real = ([preprocess(image_files.read_image(path)) for path in paths] for paths in (good, defective))
    if plain == name:
        return Images(shown, real, groups, [])
    painted = choice.draw_defects(shown, STRUCTURAL, rng)[0][: options.defective]
    return Images(shown, painted, groups, [number % len(shown) for number in range(len(painted))])


def read_boards(name: str, options: Any) -> Images:
    """Pictures of a drawn board, aligned if it is loose."""
    number, loose = int(name[len("board")]), name.endswith("aligned")
    board, rng = boards.design_board(number), np.random.default_rng(2 * number + loose)
    good = [boards.draw_board(board, rng, loose) for _ in range(GOOD_BOARDS)]
    defective = [
        boards.draw_board(board, rng, loose, kind) for kind in boards.DEFECTS for _ in range(DEFECTS_OF_A_KIND)
    ]
    inspector = None
    if loose:
        folder = options.out / name.replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{index}.png" for index in range(4)]
        for path, image in zip(paths, good, strict=False):
            cv2.imwrite(str(path), image)
        inspector, _ = fit_inspector(InspectionSettings(align="rigid"), paths, no_progress, no_log)
    preprocess = Preprocess(efficientnet_lite.backbone_input_spec(SIZE), inspector)
    groups = [str(index) for index in range(len(good))]
    return Images([preprocess(each) for each in good], [preprocess(each) for each in defective], groups, [])


def tables(rows: list[dict[str, Any]]) -> str:
    """All tables as Markdown."""
    counts = [*sorted({row["images"] for row in rows if row["images"]}), REST]
    heads = ["model", *(str(count) if count else "all" for count in counts)]
    kinds: dict[str, Callable[[str], bool]] = {
        "boards that lie still": lambda name: name.endswith("still"),
        "loose boards, aligned": lambda name: name.endswith("aligned"),
        "development sets": lambda name: name in sets.SETS and name.startswith("scene") is False,
        "frames with pasted objects": lambda name: name.startswith("scene"),
        "development sets, drawn defects of structure": lambda name: name.endswith("drawn"),
    }
    text = ""
    for kind, belongs in kinds.items():
        mine = [row for row in rows if belongs(row["set"])]
        if mine:
            lines = [[model, *(_mean(mine, count, model) for count in counts)] for model in ("auto", *MODELS)]
            text += f"### {kind[0].upper()}{kind[1:]}\n\n{markdown_table(heads, lines)}\n"
    few = [row for row in rows if row["images"] in (1, 2, 4, 8)]
    return text + set_table(few) + choice_table(few)


def set_table(rows: list[dict[str, Any]]) -> str:
    """By set: `auto` and the golden sample, mean over 1 to 8 images."""
    lines = []
    for name in dict.fromkeys(row["set"] for row in rows):
        mine = [row for row in rows if row["set"] == name]
        means = {model: float(np.mean([_value(row, model) for row in mine])) for model in ("auto", "golden")}
        chosen = max(MODELS, key=lambda model: np.mean([row[model] for row in mine]))
        lines.append([name, means["auto"], means["golden"], means["golden"] - means["auto"], chosen])
    heads = ["set", "auto", "golden", "gain", "best"]
    return f"### By set, mean of 1 to 8 images\n\n{markdown_table(heads, lines)}\n"


def choice_table(rows: list[dict[str, Any]]) -> str:
    """The golden sample that all other sets choose, of 1 to 8 images; all boards count as one set."""
    group = {row["set"]: "boards" if row["set"] in BOARDS else row["set"].removesuffix(" drawn") for row in rows}
    names = list(dict.fromkeys(group.values()))
    value = {
        (name, model): float(np.mean([row[model] for row in rows if group[row["set"]] == name]))
        for name in names
        for model in OWN
    }
    lines = []
    for name in names:
        others = [other for other in names if other != name]
        best = max(OWN, key=lambda model: np.mean([value[other, model] for other in others]))
        regret = max(value[name, model] for model in OWN) - value[name, best]
        lines.append([name, *(value[name, model] for model in OWN), best, regret])
    return "### The choices of the golden sample\n\n" + markdown_table(
        ["set", *OWN, "chosen on the others", "regret"], lines
    )


def _value(row: dict[str, Any], model: str) -> float:
    """AUROC of a model; `auto` is one of them, and of many images the better one, as trials would find."""
    if model != "auto":
        return float(row[model])
    if not row["images"]:
        return max(row["PatchCore"], row["PaDiM"])
    return float(row["PaDiM" if row["images"] >= few_images.MIN_PADIM_IMAGES else "PatchCore"])


def _mean(rows: list[dict[str, Any]], count: int, model: str) -> float:
    values = [_value(row, model) for row in rows if row["images"] == count]
    return float(np.mean(values)) if values else float("nan")


if __name__ == "__main__":
    main()
