"""`make bench-behaviour`: how well the two models of behaviour tell fights from what is normal, on clips of unseen
videos.

For each seed the source videos are dealt into FOLDS parts. In turn each part is left out: the workshop's own tasks fit
and quantise a model to the others (without labels: to their normal clips alone; with labels: to both), and score the
clips that were left out, in float and by both int8 back ends, through the code of `vedette build`. So each clip has
one score, by a model that saw nothing of its video; the AUROC is that of all of them together.

The interval is a bootstrap over source videos, drawn whole: clips of one video are no independent evidence, and there
are few videos. What a seed changes is the division (and chance in training); seeds are no independent evidence either,
so the mean over seeds has no interval of its own.

The designs were chosen on this data (compress/models/motion_anomaly_model.py lists what was tried), so the figures are
optimistic, if less than those of a fit would be.

Options: --data FOLDER (fight/, normal/, videos.txt), --seeds 0,1,2, --epochs N of the classifier, --out FOLDER. It
prints a table and leaves `behaviour.json` and `behaviour.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np
from numpy.typing import NDArray

from vedette.compress import tasks
from vedette.compress.data import clip_images
from vedette.compress.data.stratified_split import StratifiedSplit, distribute_groups
from vedette.compress.evaluation import built_models
from vedette.compress.evaluation.clip_outputs import score_clip_windows
from vedette.compress.evaluation.model_runners import ModelRunner
from vedette.compress.goal.goal_tables import DataSettings, Goal, ModelTable
from vedette.compress.tasks.behaviour import MotionAnomalyTask
from vedette.compress.tasks.behaviour_classification import ClipClassificationTask, score_clips
from vedette.compress.tasks.classify import ClassificationData
from vedette.devices import load_profile, read_host_profile
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.progress import no_log, no_progress

ROOT = Path(__file__).parent.parent.parent
FOLDS = 5
MODELS = (built_models.FLOAT, built_models.INT8_ONNX, built_models.INT8_TFLITE)
DRAWS = 2000
NORMAL, FIGHT = "normal", "fight"

ClipTask: TypeAlias = MotionAnomalyTask | ClipClassificationTask
"""Without labels, with labels."""


def main() -> None:
    options = _options()
    if not (options.data / FIGHT).is_dir():
        sys.exit(f"{options.data}: no clips there; say --data FOLDER")
    rows = []
    for what in options.models:
        for seed in options.seeds:
            scores, truth, groups = crossed(what, options.data, seed, options.epochs)
            row = {"model": what, "seed": seed, "clips": len(truth), "videos": len(set(groups))}
            for name in MODELS:
                row[name] = auroc(scores[name][truth == 0], scores[name][truth == 1])
            row["interval"] = interval(scores[built_models.INT8_ONNX], truth, groups)
            rows.append(row)
            click.echo(line(row), err=True)
    text = table(rows)
    click.echo(text)
    options.out.mkdir(parents=True, exist_ok=True)
    found = {"machine": read_host_profile().cpu, "folds": FOLDS, "epochs": options.epochs, "rows": rows}
    (options.out / "behaviour.json").write_text(json.dumps(found, indent=2))
    (options.out / "behaviour.md").write_text(text + "\n")


def crossed(
    what: str, data: Path, seed: int, epochs: int | None = None
) -> tuple[dict[str, NDArray[Any]], NDArray[Any], list[str]]:
    """Scores of all clips, each by a model that saw nothing of its video; which are fights; and their videos."""
    with_labels = what == "with labels"
    said = (
        DataSettings(classes=".", group="videos.txt", seed=seed)
        if with_labels
        else DataSettings(footage=NORMAL, group="videos.txt")
    )
    goal = Goal(name="fight", task="behaviour", data=said, model=ModelTable(epochs=epochs))
    task: Any = tasks.load(goal, load_profile("host"))
    folders = {NORMAL: data / NORMAL, FIGHT: data / FIGHT}
    shown = clip_images.extract_clip_images(folders, said, data, task.spec, task.motion, "", no_progress)
    pictures = {
        each[0].parent: each
        for paths in shown.images.by_label.values()
        for each in clip_images.group_by_clip(paths).values()
    }
    truth = {clip: int(clip.parent.name == FIGHT) for clip in pictures}
    groups = {clip: shown.images.groups[pictures[clip][0]] for clip in pictures}
    parts = distribute_groups(truth, groups, {str(number): 1 / FOLDS for number in range(FOLDS)}, seed)
    scores: dict[str, dict[Path, float]] = {name: {} for name in MODELS}
    for left_out in parts.values():
        rest = {clip: truth[clip] for clip in pictures if clip not in left_out and (with_labels or not truth[clip])}
        dealt = distribute_groups(rest, groups, {"fit": 0.8, "calibrate": 0.2}, seed)
        shown_as = {part: [path for clip in each for path in pictures[clip]] for part, each in dealt.items()}
        built = fitted(task, shown_as, groups)
        for name in MODELS:
            for clip in left_out:
                scores[name][clip] = score(task, built.runners[name], pictures[clip], with_labels)
    order = sorted(pictures)
    return (
        {name: np.array([each[clip] for clip in order]) for name, each in scores.items()},
        np.array([truth[clip] for clip in order]),
        [groups[clip] for clip in order],
    )


def fitted(task: ClipTask, parts: dict[str, list[Path]], videos: dict[Path, str]) -> built_models.BuiltModels:
    """The float and the int8 models of one fold."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if isinstance(task, MotionAnomalyTask):
            trained = task.fit(parts["fit"], parts["calibrate"], folder, no_progress)
            return built_models.BuiltModels(task.goal, trained.float_model, trained.int8_model)
        truth = {path: int(path.parent.parent.name == FIGHT) for part in parts.values() for path in part}
        groups = {path: videos[path.parent] for path in truth}
        images = StratifiedSplit(parts["fit"], parts["calibrate"], [], [], (NORMAL, FIGHT), (NORMAL,), truth, groups)
        trained = task.train(ClassificationData(images), None, folder, no_progress, no_log).model
        return built_models.BuiltModels(task.goal, trained.float_model, trained.int8_model)


def score(task: ClipTask, runner: ModelRunner, pictures: list[Path], with_labels: bool) -> float:
    """How unusual a clip is, or how much more like a fight; a temperature would not change the order."""
    if with_labels:
        normal, fight = score_clips(runner, pictures)[0]
        return float(fight - normal)
    return max(float(each["score"].flat[0]) for each in score_clip_windows(runner, pictures, task.motion))


def interval(scores: NDArray[Any], truth: NDArray[Any], groups: list[str]) -> tuple[float, float]:
    """95 %, source videos drawn whole."""
    members = [np.flatnonzero(np.array(groups) == name) for name in sorted(set(groups))]
    rng = np.random.default_rng(0)
    found = []
    for _ in range(DRAWS):
        drawn = np.concatenate([members[number] for number in rng.integers(len(members), size=len(members))])
        if 0 < truth[drawn].sum() < len(drawn):
            found.append(auroc(scores[drawn][truth[drawn] == 0], scores[drawn][truth[drawn] == 1]))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def line(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    figures = " | ".join(f"{row[name]:.3f}" for name in MODELS)
    return f"| {row['model']} | {row['seed']} | {figures} | {low:.2f} … {high:.2f} |"


def table(rows: list[dict[str, Any]]) -> str:
    text = [
        "| model | seed | float | int8 ONNX | int8 TFLite | 95 % over videos (int8 ONNX) |",
        "|---|---|---|---|---|---|",
        *map(line, rows),
    ]
    for what in dict.fromkeys(row["model"] for row in rows):
        means = [np.mean([row[name] for row in rows if row["model"] == what]) for name in MODELS]
        text.append(f"| {what} | mean | {' | '.join(f'{mean:.3f}' for mean in means)} | |")
    return "\n".join(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="AUROC by clip, grouped by source video")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "fight")
    parser.add_argument("--seeds", type=lambda text: [int(each) for each in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--models", type=lambda text: text.split(","), default=["without labels", "with labels"])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    return parser.parse_args()


if __name__ == "__main__":
    main()
