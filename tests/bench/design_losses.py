"""`make bench-losses`: what cheaper designs lose on real defects, and what synthetic defects say about it.

PaDiM on float features, fitted to half of the good images of a set (whole groups). The rest is divided again: one part
and copies of it with synthetic defects give the AUROC that a search sees, the other part and the defective images the
real one. A loss is the AUROC of the default design (blocks 4 and 10 at 224 pixels) less that of a design.

It prints the mean losses of each design, and what margins on the synthetic loss would choose: on all sets but one
the widest margin with a mean real loss of at most 0.005, on the one left out its loss and speedups. It leaves
`design_losses.json` in the folder.

Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --seeds 0,1, --good N, --defective N, --out FOLDER.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import bench_options
import click
import image_sets
import numpy as np
import sets
import torch

from vedette import devices
from vedette.compress.cost import cost_limits
from vedette.compress.data.image_feature_cache import make_evaluation_defects, resize_image
from vedette.compress.models import efficientnet_lite, feature_extraction
from vedette.compress.models.design import Design
from vedette.compress.search.selection import Trial
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference.preprocess import Preprocess

DEFAULT = Design("padim", (4, 10))
BLOCKS = {224: ((4, 10), (4, 7)), 192: ((4, 10),), 160: ((4, 10), (4, 9), (4, 8), (4, 7))}
BLOCKS |= {128: BLOCKS[160], 96: ((4, 10), (4, 9), (4, 8))}
DESIGNS = [Design("padim", blocks, size) for size, choices in BLOCKS.items() for blocks in choices]
LADDER = [design for design in DESIGNS if design.blocks in ((4, 10), (4, 8))]
MARGINS = (0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.12, 0.15)
MAX_LOSS = 0.005
SYNTHETIC = 100


class Loss(NamedTuple):
    """AUROC that a design loses."""

    synthetic: float
    real: float


Losses = dict[str, list[dict[Design, Loss]]]
"""By set: by seed: by design."""


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    losses: Losses = {}
    for name in options.sets:
        for seed in options.seeds:
            try:
                losses.setdefault(name, []).append(measure(name, seed, options))
            except sets.Absent as reason:
                click.echo(f"{name}: skipped, {reason}", err=True)
            click.echo(f"[{time.strftime('%H:%M:%S')}] {name}, {seed}: done", err=True)
    losses = {name: seeds for name, seeds in losses.items() if seeds}
    found = {name: [{str(key): value for key, value in seed.items()} for seed in each] for name, each in losses.items()}
    (options.out / "design_losses.json").write_text(json.dumps(found, indent=1) + "\n")
    click.echo(design_table(losses) + "\n" + margin_table(losses))


def measure(name: str, seed: int, options: Any) -> dict[Design, Loss]:
    """The losses of all designs on one set."""
    rng = np.random.default_rng(seed)
    images = sets.list_images(name, options, seed, rng)
    in_fit = image_sets.divide_groups(images.groups, 0.5, rng)
    rest = np.flatnonzero(~in_fit)
    in_held_out = image_sets.divide_groups([images.groups[index] for index in rest], 0.5, rng)
    parts = (np.flatnonzero(in_fit), rest[in_held_out], rest[~in_held_out])
    preprocess = Preprocess(efficientnet_lite.backbone_input_spec(DEFAULT.input))
    fit, held_out, good = ([preprocess(image_files.read_image(images.good[index])) for index in part] for part in parts)
    defective = [preprocess(image_files.read_image(path)) for path in images.defective]
    synthetic = make_evaluation_defects(held_out, np.random.default_rng(seed + 1)).images[:SYNTHETIC]
    groups = (fit, held_out, synthetic, good, defective)
    aurocs = {}
    for size, choices in BLOCKS.items():
        taps = tuple(sorted({block for blocks in choices for block in blocks}))
        pixels = [resize_image(image, size) for group in groups for image in group]
        batches = feature_extraction.extract_float_features(efficientnet_lite.load_backbone(taps), pixels)
        levels = dict(zip(taps, (torch.cat(level) for level in zip(*batches, strict=True)), strict=True))
        for blocks in choices:
            design = Design("padim", blocks, size)
            model: Any = design.create_model(efficientnet_lite.load_backbone(blocks))
            features = [levels[block] for block in blocks]
            good_features = [level[: len(fit)] for level in features]
            model.fit(good_features, [level[:8] for level in good_features], torch.zeros(8, size // 8, size // 8))
            scores = image_sets.score(model, [level[len(fit) :] for level in features])
            each = np.split(scores, np.cumsum([len(group) for group in groups[1:-1]]))
            aurocs[design] = auroc(each[0], each[1]), auroc(each[2], each[3])
    default = aurocs[DEFAULT]
    return {design: Loss(default[0] - each[0], default[1] - each[1]) for design, each in aurocs.items()}


@cache
def speedups(design: Design) -> tuple[float, float]:
    """Against the float reference, by predicted instructions of a Cortex-A76 and a Cortex-A72."""
    profiles = [devices.load_profile(name) for name in ("pi5", "pi4")]
    pi5, pi4 = (cost_limits.predict_reference_cost(each) / Trial.for_design(design, each).cost for each in profiles)
    return pi5, pi4


def design_table(losses: Losses) -> str:
    """Mean losses of each design."""
    rows = []
    for design in DESIGNS:
        each = [[seed[design] for seed in seeds] for seeds in losses.values()]
        means = [float(np.mean([[loss[kind] for loss in seeds] for seeds in each])) for kind in (0, 1)]
        pi5, pi4 = speedups(design)
        singly = [float(np.mean([loss.real for loss in seeds])) for seeds in each]
        name = f"{', '.join(map(str, design.blocks))} at {design.input}"
        rows.append([name, f"{pi5:.1f}x", f"{pi4:.1f}x", *means, *singly])
    return image_sets.markdown_table(["blocks, pixels", "A76", "A72", "synthetic", "real, mean", *losses], rows)


def margin_table(losses: Losses) -> str:
    """The margin that the other sets choose, and what it gives on the set left out."""

    def choose(seed: dict[Design, Loss], margin: float) -> Design:
        near = [design for design in LADDER if seed[design].synthetic <= margin]
        return max([DEFAULT, *near], key=lambda design: speedups(design)[0])

    def real_loss(names: Sequence[str], margin: float) -> float:
        means = [[seed[choose(seed, margin)].real for seed in losses[name]] for name in names]
        return float(np.mean([np.mean(each) for each in means]))

    rows = []
    for name in losses:
        others = [other for other in losses if other != name]
        margin = max(each for each in MARGINS if not each or real_loss(others, each) <= MAX_LOSS)
        gains = np.exp(np.mean([np.log(speedups(choose(seed, margin))) for seed in losses[name]], axis=0))
        rows.append([name, f"{margin:g}", real_loss([name], margin), f"{gains[0]:.1f}x", f"{gains[1]:.1f}x"])
    return image_sets.markdown_table(["set", "margin by the others", "real loss", "A76", "A72"], rows)


def _options() -> Any:
    parser = bench_options.make_parser("What cheaper designs lose.", "design-losses")
    parser.set_defaults(sets=list(sets.SETS[:6]))
    parser.add_argument("--seeds", type=bench_options.numbers, default=[0, 1, 2])
    parser.add_argument("--good", type=int, default=450)
    parser.add_argument("--defective", type=int, default=260)
    return bench_options.parse(parser)


if __name__ == "__main__":
    main()
