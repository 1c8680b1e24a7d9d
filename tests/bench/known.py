"""`make bench-known`: what known defects give, and whether unknown kinds of defects are lost for them.

The good images of a set are divided into three folds by group. PaDiM over blocks 4 and 10 is fitted to two of them,
with the head for known defects (compress/models/anomaly/known_defect_head.py) and without. 5, 10, 20 and 40 known
defects are drawn, `--draws` times, from the groups that the fit may see; all other defects are tested, with the good
images of the third fold. Where good and defective images have no groups in common, half of the groups of defects are
tested.

    known     known defects of all kinds
    unknown   known defects of all kinds but one; only the defects of that kind are tested. The magnetic tiles name
              their kinds; elsewhere k-means of pooled features makes three

The options of the head are evidence that may also lower the score ("linear"), and evidence beyond 1, 1.5 or 2 standard
deviations of unseen good images. They are compared by their mean gain in AUROC over both and over 10 and 20 known
defects. An option that loses more than 0.01 on unknown kinds of one of the sets is not chosen. The best on all sets but
one is reported on that one.

Designs are chosen as `auto` does, by synthetic defects and by known ones, each with several weights of the synthetic
ones; the regret is the AUROC of the best design on the other defects, less that of the chosen one.

Features are float, at 224 pixels. It leaves `known.json` and `known.md` in the folder, and prints the tables; `make
bench-curves` draws them. Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --good N, --defective N, --draws N,
--folds N, --seed N, --parts curves,designs, --out FOLDER.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import bench_options
import click
import known_tables
import numpy as np
import sets
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor

from vedette import devices
from vedette.compress.data.groups import assign_groups
from vedette.compress.data.image_feature_cache import ImageFeatureCache
from vedette.compress.data.split import Split, model_inputs
from vedette.compress.goal.goal_tables import ModelTable
from vedette.compress.models import efficientnet_lite, feature_extraction
from vedette.compress.models.anomaly import known_defect_head, load_anomaly_model
from vedette.compress.models.anomaly.known_defect_head import KnownDefectEvidence, assign_folds, score_spread
from vedette.compress.search import selection
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.progress import no_progress

ROOT = Path(__file__).parents[2]
SIZE, BLOCKS, FOLDS = 224, (4, 10), 3
COUNTS = (5, 10, 20, 40)
KINDS = 3
OFFSETS = (1.0, 1.5, 2.0)  # standard deviations


class ImageSet(NamedTuple):
    """Images of one set, with groups by image and kinds of the defects."""

    name: str
    good: list[Path]
    defective: list[Path]
    groups: dict[Path, str]
    kinds: list[str]
    features: list[Tensor]
    """By level, of the good and then of the defective images."""

    @property
    def shares_groups(self) -> bool:
        """Whether good and defective images have groups in common."""
        first, second = ({self.groups[path] for path in each} for each in (self.good, self.defective))
        return bool(first & second)


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"options": {key: str(value) for key, value in vars(options).items()}, "sets": {}}
    for name in options.sets:
        try:
            images = read_set(name, options)
        except sets.Absent as reason:
            click.echo(f"{name}: skipped, {reason}", err=True)
            continue
        folds = range(options.folds) if "curves" in options.parts else ()
        rows = [row for fold in folds for row in measure_fold(images, fold, options)]
        designs = measure_designs(images, options) if "designs" in options.parts else []
        found["sets"][name] = {"rows": rows, "designs": designs}
        (options.out / "known.json").write_text(json.dumps(found, indent=1) + "\n")
        click.echo(f"[{time.strftime('%H:%M:%S')}] {name}: done", err=True)
    text = ""
    if "curves" in options.parts:
        text += known_tables.curve_table(found["sets"]) + known_tables.option_table(found["sets"])
    if "designs" in options.parts:
        text += known_tables.design_table(found["sets"])
    (options.out / "known.md").write_text(text)
    click.echo(text)


def read_set(name: str, options: Any) -> ImageSet:
    """A sample of the images of a set, and their features."""
    goal, folders = sets.prepare(name, options.data, options.out / f"{name}-{options.seed}", options.seed)
    rng = np.random.default_rng(options.seed)
    found = {label: image_files.find_images(folders[label]) for label in ("good", "defect")}
    rule = tomllib.loads(goal.read_text())["data"].get("group")
    csv = (rule or "").endswith(".csv")
    groups = assign_groups({"good": found["good"]}, {"good": folders["good"]}, rule, goal.parent)
    groups |= assign_groups(
        {"defect": found["defect"]}, {"defect": folders["defect"]}, None if csv else rule, goal.parent
    )
    if name == "magnetic_tile":  # neighbouring numbers
        numbers = {path: int(re.sub(r".*num_", "", path.stem)) for path in found["defect"]}
        groups |= {path: f"defect {number // sets.TILE_BLOCK}" for path, number in numbers.items()}
    good = sorted(rng.permutation(np.array(found["good"], object))[: options.good].tolist())
    defective = sorted(rng.permutation(np.array(found["defect"], object))[: options.defective].tolist())
    batches = feature_extraction.extract_float_features(
        efficientnet_lite.load_backbone(BLOCKS),
        model_inputs([*good, *defective], efficientnet_lite.backbone_input_spec(SIZE)),
    )
    levels = [torch.cat(level) for level in zip(*batches, strict=True)]
    kinds = [path.parent.name for path in defective]
    if len(set(kinds)) == 1:
        pooled = levels[-1][len(good) :].amax(dim=(2, 3)).numpy()
        standard = (pooled - pooled.mean(axis=0)) / (pooled.std(axis=0) + 1e-3)
        kinds = list(map(str, KMeans(KINDS, n_init=4, random_state=0).fit_predict(standard)))
    return ImageSet(name, good, defective, groups, kinds, levels)


def divide(images: ImageSet, fold: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Whether each good image is fitted, and whether each defective one may be known; the others are tested."""
    good_groups, groups = ([images.groups[path] for path in each] for each in (images.good, images.defective))
    fitted = assign_folds(good_groups, FOLDS) != fold
    if images.shares_groups:
        tested = {group for group, fits in zip(good_groups, fitted, strict=True) if not fits}
        return fitted, np.array([group not in tested for group in groups])
    names = sorted(set(groups))
    np.random.default_rng(fold).shuffle(names)
    known = set(names[: len(names) // 2])
    return fitted, np.array([group in known for group in groups])


def measure_fold(images: ImageSet, fold: int, options: Any) -> list[dict[str, Any]]:
    """A row for each draw of known defects and each option: AUROC without the head and with it."""
    fitted, may_be_known = divide(images, fold)
    good, defective = ([level[part] for level in images.features] for part in _parts(len(images.good)))
    fit, test = ([level[torch.from_numpy(mask)] for level in good] for mask in (fitted, ~fitted))
    groups = [images.groups[path] for path, fits in zip(images.good, fitted, strict=True) if fits]
    backbone = efficientnet_lite.load_backbone(BLOCKS)
    model = load_anomaly_model("padim", backbone, SIZE)
    spread = score_spread(load_anomaly_model("padim", backbone, SIZE), fit, (), torch.zeros(0), groups)
    model.fit(fit, (), torch.zeros(0))
    head = KnownDefectEvidence(backbone, SIZE)
    with torch.inference_mode():
        test_scores, defect_scores = model(test)[1].numpy(), model(defective)[1].numpy()
    kinds, rows = np.array(images.kinds), []
    for draw, (unknown, count) in itertools.product(
        range(options.draws),
        [("", count) for count in COUNTS] + [(kind, count) for kind in sorted(set(kinds)) for count in (10, 20)],
    ):
        rng = np.random.default_rng([options.seed, fold, draw, count])
        pool = rng.permutation(np.flatnonzero(may_be_known & (kinds != unknown)))
        tested = np.flatnonzero(~may_be_known & ((kinds == unknown) if unknown else True))
        if len(pool) < count or len(tested) < 5:
            continue
        known = [level[torch.from_numpy(pool[:count])] for level in defective]
        tested_features = [level[torch.from_numpy(tested)] for level in defective]
        row = {"fold": fold, "draw": draw, "unknown": unknown, "count": count, "tested": len(tested)}
        row["without"] = float(auroc(test_scores, defect_scores[tested]))
        with torch.inference_mode():
            head.fit(fit, known, groups)
            values = [
                head.judge(head.pool(part)).flatten().numpy() + known_defect_head.EVIDENCE_OFFSET
                for part in (test, tested_features)
            ]
        scores = test_scores, defect_scores[tested]
        row["linear"] = _joined(scores, values, spread)
        for offset in OFFSETS:
            raised = [(each - offset).clip(0, known_defect_head.EVIDENCE_LIMIT) for each in values]
            row[f"beyond {offset:g}"] = _joined(scores, raised, spread)
        rows.append(row)
    return rows


def _parts(count: int) -> tuple[slice, slice]:
    return slice(count), slice(count, None)


def _joined(scores: Any, evidence: Any, spread: float) -> float:
    return float(auroc(*(score + spread * each for score, each in zip(scores, evidence, strict=True))))


def measure_designs(images: ImageSet, options: Any) -> list[dict[str, Any]]:
    """For each draw and number of known defects, and each design: utilities by weight, and AUROC on other defects."""
    fitted, may_be_known = divide(images, 0)
    fit = [path for path, fits in zip(images.good, fitted, strict=True) if fits]
    split = Split(fit, [], [], [], [], {}, images.groups, known=images.defective)
    trials = selection.list_default_trials(ModelTable(input=SIZE), len(fit), devices.load_profile("pi4"))
    cache = ImageFeatureCache(
        split, SIZE, {block for trial in trials for block in trial.design.blocks}, options.seed, no_progress
    )
    features = cache.extract_features(SIZE)
    scores = [selection.score_folds(trial.design, features, cache.groups) for trial in trials]
    rows = []
    for draw, count in itertools.product(range(4 * options.draws), COUNTS):
        rng = np.random.default_rng([options.seed, draw, count])
        pool = rng.permutation(np.flatnonzero(may_be_known))
        if len(pool) < count:
            continue
        for trial, folds in zip(trials, scores, strict=True):
            known = float(np.mean([auroc(each.good, each.known[pool[:count]]) for each in folds]))
            rows.append(
                {
                    "draw": draw,
                    "count": count,
                    "design": str(trial.design),
                    "cost": trial.cost,
                    "synthetic": float(np.mean([auroc(each.good, each.synthetic) for each in folds])),
                    "known": known,
                    "other": float(np.mean([auroc(each.good, each.known[~may_be_known]) for each in folds])),
                }
            )
    return rows


def _options() -> Any:
    parser = bench_options.make_parser("What known defects give.", "known")
    parser.add_argument("--good", type=int, default=450)
    parser.add_argument("--defective", type=int, default=260)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", type=lambda text: text.split(","), default=["curves", "designs"])
    return bench_options.parse(parser)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
