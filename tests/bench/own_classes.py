"""`make bench-own-classes`: a detector learns classes of its own from 64 pictures.

The 80 classes of coco128 are merged to six: person, vehicle, animal, tableware, food and furniture. The pictures are
split as the product does, about 64 to train, 32 to end the training and 32 to test, by each seed. It is measured how
the float detector does without training (its own classes mapped), with training, and in int8:

    mapped    the new classes begin as the network's own ones that find their objects
    empty     they begin empty, as classes do that the network does not know; its own classes stay as features

The pictures are of COCO's training set, which the network has seen with their own labels. int8 is quantized after
training, without training of its own. It leaves `own_classes.json` and `own_classes.md` in the folder, and prints the
table.

With --labels it measures instead how many wrong labels the report names (spoiled_labels.py).

Options: --data ROOT (or VEDETTE_BENCH_DATA), --seeds 0,1,2, --starts mapped,empty, --layers auto, --labels,
--out FOLDER.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import bench_options
import click
import numpy as np
import spoiled_labels

from vedette import devices
from vedette.compress import tasks
from vedette.compress.evaluation.built_models import FLOAT, INT8_ONNX, INT8_TFLITE, BuiltModels
from vedette.compress.evaluation.file_parity import measure_parity
from vedette.compress.goal import goal_reader
from vedette.compress.training import class_mapping
from vedette.runtime.progress import no_progress

CLASSES = {
    "person": (0, 1),
    "vehicle": (1, 9),
    "animal": (14, 24),
    "tableware": (39, 46),
    "food": (46, 56),
    "furniture": (56, 62),
}
"""For each class, the range of COCO's labels that it joins."""
GOAL = """\
name = "own"
task = "detect"
[data]
images = "images"
labels = "labels"
seed = {seed}
[model]
onnx = "net.onnx"
family = "nanodet"
licence = "Apache-2.0"
[[recipe]]
use = "quantise"
[[recipe]]
use = "train"
layers = "{layers}"
seed = {seed}
"""


def main() -> None:
    parser = bench_options.make_parser("A detector that learns classes of its own.", "own_classes")
    parser.add_argument("--seeds", type=bench_options.numbers, default=[0, 1, 2])
    parser.add_argument("--starts", type=lambda text: text.split(","), default=["mapped", "empty"])
    parser.add_argument("--layers", default="auto")
    parser.add_argument("--labels", action="store_true")
    options = bench_options.parse(parser)
    if options.labels:
        click.echo(spoiled_labels.measure(options.data, options.seeds))
        return
    folder = options.out / "goal"
    write_goal_folder(folder, options.data)
    rows: list[dict[str, Any]] = []
    for seed, start in itertools.product(options.seeds, options.starts):
        rows.append(measure(folder, seed, start, options.layers))
        click.echo(f"[{time.strftime('%H:%M:%S')}] {rows[-1]}", err=True)
        (options.out / "own_classes.json").write_text(json.dumps(rows, indent=2) + "\n")
    text = table(rows)
    (options.out / "own_classes.md").write_text(text)
    click.echo(text)


def write_goal_folder(folder: Path, data: Path) -> None:
    """Images, network and labels of the merged classes."""
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    for name, target in (("images", "coco128/images"), ("net.onnx", "models/nanodet/nanodet_m_320.onnx")):
        if not (folder / name).exists():
            (folder / name).symlink_to(data / target)
    names = list(CLASSES)
    new = {old: names.index(name) for name, (first, end) in CLASSES.items() for old in range(first, end)}
    for file in (data / "coco128" / "labels").rglob("*.txt"):
        rows = [line.split() for line in file.read_text().splitlines() if line.strip()]
        lines = [f"{new[int(row[0])]} {' '.join(row[1:])}\n" for row in rows if int(row[0]) in new]
        (folder / "labels" / file.name).write_text("".join(lines))
    (folder / "labels" / "classes.txt").write_text("\n".join(names) + "\n")


def measure(folder: Path, seed: int, start: str, layers: str) -> dict[str, Any]:
    """Figures of one training."""
    path = folder / f"{start}-{seed}.toml"
    path.write_text(GOAL.format(seed=seed, layers=layers))
    goal = goal_reader.read_goal(path)
    task: Any = tasks.load(goal, devices.load_profile("pi5"))
    original = class_mapping.map_classes
    if start == "empty":
        class_mapping.map_classes = lambda _old, new, *_: [[] for _ in new]  # type: ignore[assignment]
    try:
        began = time.monotonic()
        data = task.split(folder, no_progress, lambda _: None)
        training = task.train(data, None, folder / "work", no_progress, lambda line: click.echo(line, err=True))
        seconds = time.monotonic() - began
    finally:
        class_mapping.map_classes = original
    made = training.model
    models = BuiltModels(goal, made.float_model, made.int8_model, made.manifest_fields)
    thresholds = task.choose_threshold(models, data)
    predictions = task.predict(models.runners, data, no_progress)
    metrics = task.compute_metrics(predictions, data, training, thresholds)
    found = {model: metrics.by_model[model] for model in (FLOAT, INT8_ONNX, INT8_TFLITE)}
    parity = measure_parity(models, data.images.test)
    images = {part: len(getattr(data.images, part)) for part in ("fit", "calibrate", "threshold", "test")}
    return {
        "start": start,
        "seed": seed,
        "images": images,
        "untrained": metrics.training.untrained.value if start == "mapped" else None,
        "float": found[FLOAT].value,
        "interval": found[FLOAT].interval,
        "int8_onnx": found[INT8_ONNX].value,
        "int8_tflite": found[INT8_TFLITE].value,
        "parity_steps": parity.max_steps,
        "kept": metrics.training.kept,
        "steps": [[step.layers, step.epochs, round(step.map50, 4)] for step in metrics.training.steps],
        "seconds": round(seconds),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| start | seed | train, validate, test | untrained | before, classes, head on the validation images |"]
    lines[0] += " float | int8 ONNX | int8 TFLite | steps of parity |"
    lines.append("|" + " --- |" * 9)
    for row in rows:
        counts = row["images"]
        split = f"{counts['fit']}, {counts['calibrate'] + counts['threshold']}, {counts['test']}"
        untrained = "-" if row["untrained"] is None else f"{row['untrained']:.3f}"
        steps = ", ".join(f"{step[2]:.3f}" for step in row["steps"])
        low, high = row["interval"]
        lines.append(
            f"| {row['start']} | {row['seed']} | {split} | {untrained} | {steps} | {row['float']:.3f} "
            f"({low:.3f} to {high:.3f}) | {row['int8_onnx']:.3f} | {row['int8_tflite']:.3f} | {row['parity_steps']} |"
        )
    for start in dict.fromkeys(row["start"] for row in rows):
        chosen = [row for row in rows if row["start"] == start]
        means = {key: float(np.mean([row[key] for row in chosen])) for key in ("float", "int8_onnx", "int8_tflite")}
        untrained = "-" if start == "empty" else f"{np.mean([row['untrained'] for row in chosen]):.3f}"
        lines.append(
            f"| {start} | mean | | {untrained} | | {means['float']:.3f} | {means['int8_onnx']:.3f} "
            f"| {means['int8_tflite']:.3f} | |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
