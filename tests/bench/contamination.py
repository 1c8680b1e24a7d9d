"""`make bench-contamination`: what do defects among the good images cost, and does the product notice them?

Half of the good images of each set, whole groups, are fitted to; a quarter determines the threshold; the rest is tested
against half of the defective images. From the other half, 0, 5, 10 and 20 % of the images are mixed into what is fitted
to, and into what the threshold comes from.

    named      images that the audit says look defective: precision and recall
    robust     the fit without the images beyond 1, 1.5, 2 or 3 deviations (compress/data/trimming.py), against all
    threshold  with all images, without the named ones, and without any defective ones: detections and false alarms

The deviations of the robust fit are chosen on all sets but one. PaDiM, blocks 4 and 10, float. It leaves
`contamination.json`, `contamination.md` and `contamination.svg` in the folder, and prints the tables.

Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --good N, --defective N, --seeds 0,1, --out FOLDER.
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
from image_sets import ImageSet, divide_groups, fit, markdown_table, read_set, score, write_chart

from vedette.compress.data import trimming
from vedette.compress.data.audit import suspected_defects
from vedette.compress.evaluation.conformal_threshold import choose_threshold
from vedette.runtime.evaluation.metrics import auroc

ROOT = Path(__file__).parents[2]
RATES = (0.0, 0.05, 0.1, 0.2)
LIMITS = (1.0, 1.5, 2.0, 3.0)
DEFAULT = suspected_defects.UNUSUAL_DEVIATIONS
TARGET = 0.05  # false alarms
STEP = 1e-4


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name, seed in itertools.product(options.sets, options.seeds):
        try:
            images = read_set(name, options, seed)
        except sets.Absent as reason:
            click.echo(f"{name}: skipped, {reason}", err=True)
            continue
        rows += [{"set": name, "seed": seed, "rate": rate, **measure(images, rate, seed)} for rate in RATES]
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "contamination.json").write_text(json.dumps(rows, indent=1) + "\n")
        click.echo(f"[{time.strftime('%H:%M:%S')}] {name}, seed {seed}: done", err=True)
    text = "\n".join((named_table(rows), robust_table(rows), choice_table(rows), threshold_table(rows)))
    (options.out / "contamination.md").write_text(text)
    curves = {
        label: [_mean(rows, None, rate, key) for rate in RATES]
        for label, key in (("all images", "auroc all"), (f"robust, {DEFAULT:g}", f"auroc {DEFAULT:g}"))
    }
    ticks = [f"{rate:.0%}" for rate in RATES]
    chart = options.out / "contamination.svg"
    write_chart(chart, "AUROC, mean of the sets", "defects among good images", ticks, curves)
    click.echo(text)


def measure(images: ImageSet, rate: float, seed: int) -> dict[str, float]:
    """Figures of one draw of contaminating images."""
    rng = np.random.default_rng(seed)
    fitted = divide_groups(images.groups, 0.5, rng)
    rest = np.flatnonzero(~fitted)
    held_out = divide_groups([images.groups[index] for index in rest], 0.5, rng)
    parts = {"fit": np.flatnonzero(fitted), "threshold": rest[held_out], "test": rest[~held_out]}
    order = rng.permutation(len(images.defective[0]))
    tested, mixed = order[: len(order) // 2], iter(order[len(order) // 2 :].tolist())

    features, groups, is_defect = {}, {}, {}
    for part in ("fit", "threshold"):
        count = round(rate / (1 - rate) * len(parts[part]))
        extra = list(itertools.islice(mixed, count))
        features[part] = [
            torch.cat([good[parts[part]], defective[extra]])
            for good, defective in zip(images.good, images.defective, strict=True)
        ]
        groups[part] = [images.groups[index] for index in parts[part]] + [f"defect {index}" for index in extra]
        is_defect[part] = np.arange(len(groups[part])) >= len(parts[part])

    test = [level[parts["test"]] for level in images.good], [level[tested] for level in images.defective]
    unusual = deviations(features["fit"])
    figures: dict[str, float] = {"fit": len(unusual)}
    models = {"all": fit("padim", features["fit"])}
    enough = len(unusual) >= suspected_defects.MIN_IMAGES
    out = {limit: enough & trimming.select_unusual(unusual, groups["fit"], limit) for limit in LIMITS}
    for limit, left_out in out.items():
        kept = torch.from_numpy(~left_out)
        robust = fit("padim", [level[kept] for level in features["fit"]]) if left_out.any() else models["all"]
        models[f"{limit:g}"] = robust
    for key, model in models.items():
        figures[f"auroc {key}"] = auroc(*(score(model, part) for part in test))
    figures["left out"] = float((out[DEFAULT] & ~is_defect["fit"]).sum() / (~is_defect["fit"]).sum())

    together = [torch.cat(pair) for pair in zip(features["fit"], features["threshold"], strict=True)]
    all_deviations = deviations(together)
    truth = np.concatenate([is_defect["fit"], is_defect["threshold"]])
    enough = len(truth) >= suspected_defects.MIN_IMAGES
    named = (all_deviations > suspected_defects.suspect_limit(len(truth))) & enough
    figures |= {"named": int(named.sum()), "true": int((named & truth).sum())}
    figures |= {"defects": int(truth.sum()), "good": int((~truth).sum())}

    model = models[f"{DEFAULT:g}"]
    scores, held_good, held_defective = (score(model, part) for part in (features["threshold"], *test))
    suspected = named[len(is_defect["fit"]) :]
    for key, kept in (("all", ~(suspected & False)), ("unnamed", ~suspected), ("good", ~is_defect["threshold"])):
        names = [group for group, keep in zip(groups["threshold"], kept, strict=True) if keep]
        threshold = choose_threshold(scores[kept], STEP, TARGET, names).score
        figures[f"detected {key}"] = float((held_defective >= threshold).mean())
        figures[f"alarms {key}"] = float((held_good >= threshold).mean())
    return figures


def deviations(features: list[torch.Tensor]) -> np.ndarray[Any, Any]:
    """As the audit computes them from the same features."""
    return suspected_defects.cross_validated_deviations(list(suspected_defects.pool_levels(features)))


def named_table(rows: list[dict[str, Any]]) -> str:
    """Precision and recall of the names at each rate, and the good images that are named at 0 %."""
    lines = []
    for name in dict.fromkeys(row["set"] for row in rows):
        cells: list[Any] = [name]
        for rate in RATES:
            mine = [row for row in rows if row["set"] == name and row["rate"] == rate]
            named, true, defects, good = (sum(row[key] for row in mine) for key in ("named", "true", "defects", "good"))
            if not rate:
                cells.append(f"{named} of {good}")
                continue
            cells.append(f"{true / named if named else float('nan'):.2f}, {true / max(defects, 1):.2f}")
        lines.append(cells)
    heads = ["set", "0 %: good ones named", *(f"{rate:.0%}: precision, recall" for rate in RATES[1:])]
    return "### Images that the audit names\n\n" + markdown_table(heads, lines)


def robust_table(rows: list[dict[str, Any]]) -> str:
    """AUROC of a fit to all images and of the robust fit at each rate, and the good images that it leaves out."""
    names = dict.fromkeys(row["set"] for row in rows)
    lines = []
    for name in (*names, None):
        cells: list[Any] = [name or "mean"]
        for rate in RATES:
            pair = (_mean(rows, name, rate, key) for key in ("auroc all", f"auroc {DEFAULT:g}"))
            cells.append(" → ".join(f"{value:.3f}" for value in pair))
        loss = _mean(rows, name, 0.0, "auroc all") - _mean(rows, name, 0.1, f"auroc {DEFAULT:g}")
        lines.append([*cells, loss, f"{_mean(rows, name, 0.0, 'left out'):.0%}"])
    heads = ["set", *(f"{rate:.0%}" for rate in RATES), "loss at 10 %", "good ones left out at 0 %"]
    title = f"### AUROC of a fit to all images → of the robust fit, {DEFAULT:g} deviations\n\n"
    return title + markdown_table(heads, lines)


def choice_table(rows: list[dict[str, Any]]) -> str:
    """The limit of the robust fit as the other sets choose it, by the mean of the AUROCs at 0 and 10 %."""
    names = list(dict.fromkeys(row["set"] for row in rows))
    keys = ["all", *(f"{limit:g}" for limit in LIMITS)]
    value = {
        (name, key): float(np.mean([_mean(rows, name, rate, f"auroc {key}") for rate in (0.0, 0.1)]))
        for name in names
        for key in keys
    }
    lines, regrets = [], []
    for name in names:
        chosen = max(keys, key=lambda key: np.mean([value[other, key] for other in names if other != name] or [0.0]))
        regrets.append(max(value[name, key] for key in keys) - value[name, chosen])
        lines.append([name, *(value[name, key] for key in keys), chosen, regrets[-1]])
    means = [float(np.mean([value[name, key] for name in names])) for key in keys]
    lines.append(["mean", *means, "", float(np.mean(regrets))])
    title = "### The limit of the robust fit, mean of 0 and 10 %\n\n"
    return title + markdown_table(["set", *keys, "chosen on the others", "regret"], lines)


def threshold_table(rows: list[dict[str, Any]]) -> str:
    """Detections and false alarms at the threshold, by what it was chosen from."""
    kinds = {"all": "all images", "unnamed": "without the named ones", "good": "without any defects"}
    lines = []
    for rate, (key, title) in itertools.product(RATES, kinds.items()):
        values = [_mean(rows, None, rate, f"{kind} {key}") for kind in ("detected", "alarms")]
        lines.append([f"{rate:.0%}", title, *values])
    title = f"### The threshold from contaminated images, {TARGET:.0%} false alarms allowed, mean of the sets\n\n"
    return title + markdown_table(["defects", "threshold from", "detected", "false alarms"], lines)


def _mean(rows: list[dict[str, Any]], name: str | None, rate: float, key: str) -> float:
    """Mean over the seeds, and over the sets if no set is named."""
    return float(np.mean([row[key] for row in rows if row["rate"] == rate and name in (None, row["set"])]))


def _options() -> Any:
    parser = bench_options.make_parser("Defects among the good images.", "contamination")
    parser.add_argument("--good", type=int, default=400)
    parser.add_argument("--defective", type=int, default=200)
    parser.add_argument("--seeds", type=bench_options.numbers, default=[0, 1])
    return bench_options.parse(parser)


if __name__ == "__main__":
    main()
