"""`make bench-learning`: what a model learns from a person who judges its alarms, round by round.

A part of the good images makes release 1, another part is the test, which no round sees. The others come as a stream in
ROUNDS rounds, with defects among them; each round is a day. In a round the present release judges the images of that
day alone. A simulated operator judges each alarm, and notices a share of the missed defects (`--attention`). Then the
next release is fitted to the images of release 1 and to the corrections of the days so far, as a build with `[data]
corrections` does (compress/data/corrections.py): days that it keeps aside teach nothing. Images of a later round are in
no earlier fit. Groups of the goal file stay whole; where there are five (the series of the ball screws), one makes
release 1, one is the test, and three are the stream.

    control     release 1 for all rounds: it learns nothing
    product     false alarms join the good images of the fit, right and missed alarms are known defects
    threshold   release 1, with the threshold from its scores of the good parts of all rounds so far
                (`[data] score_log`), once there are as many as a build takes
    both        the releases of `product`, each with the threshold from its scores of the good parts of its first day,
                which it had not learned from

Other forms (`--forms all`): only the false alarms, only the defects, false alarms with a weight of 4, and false alarms
that also join the images of which the threshold is chosen.

Features are float, at 224 pixels, the model is PaDiM over blocks 4 and 10. It leaves `learning.json` and `learning.md`
in the folder. Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --seeds N, --good N, --defective N, --target
RATE, --attention SHARE, --forms all, --out FOLDER.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import known
import numpy as np
import sets
import torch
from image_sets import markdown_table
from numpy.typing import NDArray

from vedette.compress.data.corrections import is_kept_aside
from vedette.compress.evaluation.conformal_threshold import choose_threshold
from vedette.compress.evaluation.score_log_threshold import MIN_SCORES
from vedette.compress.models import efficientnet_lite
from vedette.compress.models.anomaly import load_anomaly_model
from vedette.compress.models.anomaly.known_defect_head import (
    MIN_KNOWN_DEFECTS,
    KnownDefectEvidence,
    assign_folds,
    score_spread,
)

ROUNDS = 5
STEP = 1e-3  # of a score
SHARES = {"first": 0.3, "test": 0.25}  # of the good images, by group; the others are the stream
TEST_DEFECTS = 0.4
FORMS = ("control", "product", "threshold")
OTHER_FORMS = ("false alarms", "defects", "weight 4", "threshold too")
ROOT = Path(__file__).parents[2]


class Stream(NamedTuple):
    """Indices of good and of defective images."""

    fit: NDArray[Any]
    threshold: NDArray[Any]
    test: NDArray[Any]
    rounds: list[NDArray[Any]]
    test_defects: NDArray[Any]
    defects: list[NDArray[Any]]


class Lessons(NamedTuple):
    """What a release has to learn from, beside the first images: good images and defects, with their rounds."""

    false_alarms: list[tuple[int, int]]
    defects: list[tuple[int, int]]

    def taught(self, which: int) -> list[int]:
        """Those of days that are not kept aside."""
        return [index for index, day in self[which] if not is_kept_aside(day)]


class Release(NamedTuple):
    """Scores of all images, and the threshold."""

    good: NDArray[Any]
    defective: NDArray[Any]
    threshold: float


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for name in options.sets:
        try:
            images = known.read_set(name, options)
        except sets.Absent as reason:
            click.echo(f"{name}: skipped, {reason}", err=True)
            continue
        for seed in range(options.seeds):
            rows += play(images, seed, options)
            (options.out / "learning.json").write_text(json.dumps(rows, indent=1) + "\n")
        click.echo(f"[{time.strftime('%H:%M:%S')}] {name}: done", err=True)
    text = round_table(rows, "test") + round_table(rows, "stream") + change_table(rows)
    (options.out / "learning.md").write_text(text)
    click.echo(text)


def divide(images: known.ImageSet, seed: int) -> Stream:
    """The first images, the test and the rounds, by group."""
    rng = np.random.default_rng(seed)
    groups = np.array([images.groups[path] for path in images.good])
    names = rng.permutation(sorted(set(groups)))
    counts = [1, 1] if len(names) < 10 else [round(share * len(names)) for share in SHARES.values()]
    first, tested = names[: counts[0]], names[counts[0] : sum(counts)]
    initial = np.flatnonzero(np.isin(groups, first))
    # With one group, half and half as they come; else whole groups.
    in_threshold = assign_folds([groups[i] if len(first) > 2 else i for i in initial.tolist()], 3) == 0
    rest = names[sum(counts) :]
    if len(rest) >= 2 * ROUNDS:
        rounds = [np.flatnonzero(np.isin(groups, part)) for part in np.array_split(rest, ROUNDS)]
    else:
        rounds = np.array_split(rng.permutation(np.flatnonzero(np.isin(groups, rest))), ROUNDS)
    defect_groups = np.array([images.groups[path] for path in images.defective])
    if (images.shares_groups and len(names) < 10) or images.shares_groups:
        test_defects = np.flatnonzero(np.isin(defect_groups, tested))
        others = np.flatnonzero(np.isin(defect_groups, rest))
    else:
        order = rng.permutation(sorted(set(defect_groups)))
        chosen = order[: round(TEST_DEFECTS * len(order))]
        test_defects = np.flatnonzero(np.isin(defect_groups, chosen))
        others = np.flatnonzero(~np.isin(defect_groups, chosen))
    return Stream(
        initial[~in_threshold],
        initial[in_threshold],
        np.flatnonzero(np.isin(groups, tested)),
        rounds,
        test_defects,
        np.array_split(rng.permutation(others), ROUNDS),
    )


def play(images: known.ImageSet, seed: int, options: Any) -> list[dict[str, Any]]:
    """The rounds of each form: false alarms and misses of the day's stream, and of the test."""
    stream, rows = divide(images, seed), []
    first = release(images, stream, Lessons([], []), "control", options)
    for form in (*FORMS, *(OTHER_FORMS if options.forms == "all" else ())):
        rng, lessons, present = np.random.default_rng([seed, 1]), Lessons([], []), first
        seen: list[int] = []
        for day in range(ROUNDS + 1):
            rows.append({"set": images.name, "seed": seed, "form": form, "round": day})
            rows[-1] |= count_errors(present, stream.test, stream.test_defects, "test")
            if day == ROUNDS:
                break
            good, defects = stream.rounds[day], stream.defects[day]
            rows[-1] |= count_errors(present, good, defects, "stream")
            if form == "product":
                logged = from_log(present, good, options)
                rows.append({"set": images.name, "seed": seed, "form": "both", "round": day + 1})
                rows[-1] |= count_errors(logged, stream.test, stream.test_defects, "test")
            noticed = rng.random(len(defects)) < options.attention
            alarms = present.defective[defects] >= present.threshold
            lessons.false_alarms.extend((i, day) for i in good[present.good[good] >= present.threshold].tolist())
            lessons.defects.extend((i, day) for i in defects[alarms | noticed].tolist())
            if form == "threshold":
                seen += good.tolist()
                present = from_log(first, np.array(seen), options)
            elif form != "control":
                present = release(images, stream, lessons, form, options)
    return rows


def from_log(present: Release, seen: NDArray[Any], options: Any) -> Release:
    """The release with the threshold from its scores of some good images; the same if they are too few for a build."""
    if len(seen) < MIN_SCORES:
        return present
    return present._replace(threshold=_threshold(present.good[seen], None, options.target))


def count_errors(present: Release, good: NDArray[Any], defects: NDArray[Any], where: str) -> dict[str, Any]:
    """False alarms and misses of these images."""
    return {
        f"{where}_good": len(good),
        f"{where}_false": int((present.good[good] >= present.threshold).sum()),
        f"{where}_defects": len(defects),
        f"{where}_missed": int((present.defective[defects] < present.threshold).sum()),
    }


def release(images: known.ImageSet, stream: Stream, lessons: Lessons, form: str, options: Any) -> Release:
    """A release fitted to the first images and to the lessons that the form takes."""
    count = len(images.good)
    good, defective = ([level[part] for level in images.features] for part in (slice(count), slice(count, None)))
    taught = lessons.taught(0) if form in ("product", "false alarms", "weight 4", "threshold too") else []
    learned = lessons.taught(1) if form in ("product", "defects", "weight 4", "threshold too") else []
    fitted = [*stream.fit.tolist(), *taught * (4 if form == "weight 4" else 1)]
    groups: list[Any] = [images.groups[images.good[i]] for i in stream.fit]
    if len(set(groups)) < 4:
        groups = list(range(len(groups)))
    groups += (
        [f"day {day}" for _, day in lessons.false_alarms if not is_kept_aside(day)]
        * (len(fitted) - len(groups) > 0)
        * (4 if form == "weight 4" else 1)
    )
    features = [level[fitted] for level in good]
    backbone = efficientnet_lite.load_backbone(known.BLOCKS)
    model = load_anomaly_model("padim", backbone, known.SIZE)
    with torch.inference_mode():
        has_head = len(learned) >= MIN_KNOWN_DEFECTS
        spread = score_spread(model, features, (), torch.zeros(0), groups) if has_head else 0.0
        model = load_anomaly_model("padim", backbone, known.SIZE)
        model.fit(features, (), torch.zeros(0))
        scores = [_score(model, part) for part in (good, defective)]
        if has_head:
            head = KnownDefectEvidence(backbone, known.SIZE)
            head.fit(features, [level[learned] for level in defective], groups)
            pairs = zip(scores, (good, defective), strict=True)
            scores = [score + spread * head(part).flatten().numpy() for score, part in pairs]
    rows = [*stream.threshold.tolist(), *(taught if form == "threshold too" else [])]
    names = [images.groups[images.good[i]] for i in stream.threshold]
    names += [f"day {day}" for _, day in lessons.false_alarms if not is_kept_aside(day)][: len(rows) - len(names)]
    return Release(scores[0], scores[1], _threshold(scores[0][rows], names, options.target))


def _score(model: Any, features: list[torch.Tensor]) -> NDArray[Any]:
    batches = zip(*(torch.split(level, 32) for level in features), strict=True)
    return np.concatenate([model(list(batch))[1].flatten().numpy() for batch in batches])


def _threshold(scores: NDArray[Any], groups: list[str] | None, target: float) -> float:
    return choose_threshold(np.rint(scores / STEP) * STEP, STEP, target, groups).score


def round_table(rows: list[dict[str, Any]], where: str) -> str:
    """False alarms and misses in percent by round: mean and standard deviation over the seeds."""
    lines = []
    for name in dict.fromkeys(row["set"] for row in rows):
        for form in dict.fromkeys(row["form"] for row in rows):
            for kind, total in (("false", "good"), ("missed", "defects")):
                cells = [name, form, {"false": "false alarms", "missed": "misses"}[kind]]
                for day in range(ROUNDS + (where == "test")):
                    mine = [r for r in rows if (r["set"], r["form"], r["round"]) == (name, form, day)]
                    mine = [row for row in mine if f"{where}_{total}" in row]
                    rates = [100 * r[f"{where}_{kind}"] / r[f"{where}_{total}"] for r in mine if r[f"{where}_{total}"]]
                    cells.append(f"{np.mean(rates):.0f} ± {np.std(rates):.0f}" if rates else "")
                if any(cells[3:]):
                    lines.append(cells)
    heads = [f"after {day}" for day in range(ROUNDS + 1)] if where == "test" else [f"{d + 1}" for d in range(ROUNDS)]
    title = {"test": "the test images after each round", "stream": "the stream of each round, before it was learned"}
    return f"### {title[where]}, percent\n\n" + markdown_table(["set", "form", "", *heads], lines) + "\n"


def change_table(rows: list[dict[str, Any]]) -> str:
    """After all rounds, less the control: percentage points of false alarms, of misses, and of both together."""
    lines, seeds = [], sorted({row["seed"] for row in rows})
    names = list(dict.fromkeys(row["set"] for row in rows))
    for form in dict.fromkeys(row["form"] for row in rows):
        if form == "control":
            continue
        for name in (*names, "mean"):
            changes = np.array(
                [_changes(rows, form, each, seed) for each in names if name in (each, "mean") for seed in seeds]
            )
            mean, std = changes.mean(axis=0), changes.std(axis=0)
            lines.append([form, name, *(f"{m:+.1f} ± {s:.1f}" for m, s in zip(mean, std, strict=True))])
    return "### On the test images after all rounds, less the control, percentage points\n\n" + markdown_table(
        ["form", "set", "false alarms", "misses", "sum"], lines
    )


def _changes(rows: list[dict[str, Any]], form: str, name: str, seed: int) -> tuple[float, float, float]:
    ends = [
        next(r for r in rows if (r["set"], r["form"], r["seed"], r["round"]) == (name, each, seed, ROUNDS))
        for each in (form, "control")
    ]
    rates = [(100 * r["test_false"] / r["test_good"], 100 * r["test_missed"] / r["test_defects"]) for r in ends]
    alarms, misses = (float(new - old) for new, old in zip(*rates, strict=True))
    return alarms, misses, alarms + misses


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("VEDETTE_BENCH_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--sets", type=lambda text: text.split(","), default=["cookies", "ballscrew"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the sample of images")
    parser.add_argument("--good", type=int, default=300)
    parser.add_argument("--defective", type=int, default=150)
    parser.add_argument("--target", type=float, default=0.05)
    parser.add_argument("--attention", type=float, default=0.5)
    parser.add_argument("--forms", choices=("shipped", "all"), default="shipped")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "learning")
    return parser.parse_args()


if __name__ == "__main__":
    main()
