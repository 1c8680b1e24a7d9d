"""`make bench-detector-sizes`: how many instructions a smaller detector saves, and what it loses.

YOLOX-nano is built from coco128 with `min_speedup = 5` and `max_drop = 0.02` for a Raspberry Pi 5, with time to search.
32 of the 128 images are the test, which nothing else sees. Reported are the sizes that the search measured on the 96
others, and, of the build, mAP50 of float and of both int8 files on the test images, the loss with the 95 % interval of
the difference (bootstrap over images, paired), the greatest difference of the two int8 files in integers, the
instructions on the cores of the profiles, predicted from counts, and the processor time of an image here, in turn, with
preprocessing: at a held rate the processor is busy for so long. The float file at its own size is the reference.

With --distil 320 it measures instead what the float network at its own size teaches one of so many pixels, and with
--prune 0.125 what it teaches one of its own size without this share of its inner channels (pruned_channels.py): mAP50
of float on the 64 images that it does not learn from. Half of them decide, by their loss, which weights are kept.

Options: --data ROOT (or VEDETTE_BENCH_DATA), --speedup 5, --seed 0, --minutes 30, --distil PIXELS, --prune SHARE,
--out FOLDER.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import bench_options
import click
import msgspec
import numpy as np
import pruned_channels

from vedette import devices
from vedette.compress import tasks
from vedette.compress.cost import device_costs, operator_counts
from vedette.compress.data import split
from vedette.compress.evaluation.built_models import FLOAT, INT8_ONNX, INT8_TFLITE, BuiltModels
from vedette.compress.evaluation.file_parity import measure_parity
from vedette.compress.evaluation.float_detector import detect_in_float
from vedette.compress.goal import goal_reader
from vedette.compress.quantization import quantize_imported
from vedette.compress.quantization.qat import normalize_images
from vedette.compress.search import search_setup
from vedette.compress.training import detector_distillation
from vedette.runtime.bundle.manifest import ONNX
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation import coco_map
from vedette.runtime.progress import no_progress

PROFILES = "pi4", "pi5"
DRAWS = 200
GOAL = """\
name = "sizes"
task = "detect"
[data]
images = "images"
labels = "labels"
seed = {seed}
[device]
profile = "pi5"
[goal]
min_speedup = {speedup}
max_drop = 0.02
[model]
onnx = "net.onnx"
family = "yolox"
licence = "Apache-2.0"
"""


def main() -> None:
    parser = bench_options.make_parser("What a smaller detector saves and loses.", "detector_sizes")
    parser.add_argument("--speedup", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--distil", type=int)
    parser.add_argument("--prune", type=float)
    options = bench_options.parse(parser)
    folder = options.out / "goal"
    folder.mkdir(parents=True, exist_ok=True)
    network = next((options.data / "models" / "yolox_nano").glob("*.onnx"))
    for name, target in (
        ("images", options.data / "coco128/images"),
        ("labels", options.data / "coco128/labels"),
        ("net.onnx", network),
    ):
        if not (folder / name).exists():
            (folder / name).symlink_to(target)
    path = folder / f"goal-{options.seed}.toml"
    path.write_text(GOAL.format(seed=options.seed, speedup=options.speedup))
    goal = goal_reader.read_goal(path)
    task: Any = tasks.load(goal, devices.load_profile("pi5"))
    data = task.split(folder, no_progress, _report)
    began = time.monotonic()
    if options.distil:
        figures = measure_distillation(data, task.load_at(data, options.distil))
        name = f"distil-{options.distil}.json"
    elif options.prune:
        spec, paths = data.detector.input_spec, [*data.images.calibrate, *data.images.fit]
        inputs = [normalize_images([each], spec).numpy() for each in split.model_inputs(paths, spec)]
        figures = measure_distillation(data, pruned_channels.prune(data.detector, options.prune, inputs))
        name = f"prune-{options.prune}.json"
    else:
        figures, name = measure_build(goal, task, data, folder / "work", 60 * options.minutes), "build.json"
    figures["minutes"] = round((time.monotonic() - began) / 60, 1)
    text = json.dumps(figures, indent=2)
    (options.out / name).write_text(text + "\n")
    click.echo(text)


def _report(line: str) -> None:
    click.echo(f"[{time.strftime('%H:%M:%S')}] {line}", err=True)


def measure_build(goal: Any, task: Any, data: Any, folder: Path, seconds: float) -> dict[str, Any]:
    """Figures of a build with a search."""
    device = devices.load_profile("pi5")
    setup = search_setup.SearchSetup.start(goal, seconds, search_setup.study_url(folder), folder, device)
    training = task.train(data, setup, folder, no_progress, _report)
    made = training.model
    models = BuiltModels(goal, made.float_model, made.int8_model, made.manifest_fields)
    found = task.predict(models.runners, data, no_progress)
    truth, labels = data.truth_of(data.images.test), data.detector.labels
    figures: dict[str, Any] = {"images": {part: len(getattr(data.images, part)) for part in ("fit", "test")}}
    figures |= {"input": training.chosen.input, "trials": msgspec.to_builtins(training.trials)}
    figures["distillation"] = msgspec.to_builtins(training.distillation)
    for model in (FLOAT, INT8_ONNX, INT8_TFLITE):
        figures[model] = coco_map.mean_average_precision(truth, found[model], labels).map50
    for model in (INT8_ONNX, INT8_TFLITE):
        figures[f"loss_{model}"] = figures[FLOAT] - figures[model]
        figures[f"loss_interval_{model}"] = difference_interval(truth, found[FLOAT], found[model], labels)
    figures["parity_steps"] = measure_parity(models, data.images.test).max_steps
    figures["instructions"] = {name: count(name, made.float_model, made.int8_model) for name in PROFILES}
    figures["processor_time"] = measure_processor_time(models.runners, data.images.test)
    return figures


def measure_processor_time(runners: Any, paths: Any) -> dict[str, dict[str, float]]:
    """Of each file: milliseconds of processor time, median over the images, and their share of the float file's with
    the range of 80 % of the images.
    """
    taken: dict[str, list[float]] = {name: [] for name in runners}
    for path in [paths[0], *paths]:
        image = image_files.read_image(path)
        for name, runner in runners.items():
            began = time.process_time()
            runner(image)
            taken[name].append(1e3 * (time.process_time() - began))
    exact = np.array(taken[FLOAT][1:])  # the first image warms the caches
    found = {}
    for name, each in taken.items():
        low, share, high = np.quantile(np.array(each[1:]) / exact, (0.1, 0.5, 0.9))
        found[name] = {"ms": float(np.median(each[1:])), "share": float(share), "low": float(low), "high": float(high)}
    return found


def measure_distillation(data: Any, student: Any) -> dict[str, Any]:
    """mAP50 of the float detector, and of a cheaper one before and after distillation."""
    images = data.images
    held_out = [*images.threshold, *images.calibrate]
    taught = detector_distillation.distil(data.detector, student, images.fit, held_out, no_progress)
    figures: dict[str, Any] = {"steps": taught.steps, "loss": [taught.loss_before, taught.loss]}
    paths, labels = [*held_out, *images.test], data.detector.labels
    truth, found = data.truth_of(paths), {}
    for name, detector in (("float", data.detector), ("untaught", student), ("taught", taught.detector)):
        found[name] = detect_in_float(detector, paths)
        figures[name] = coco_map.mean_average_precision(truth, found[name], labels).map50
    for name in ("untaught", "taught"):
        figures[f"loss_interval_{name}"] = difference_interval(truth, found["float"], found[name], labels)
    figures["gain_interval"] = difference_interval(truth, found["taught"], found["untaught"], labels)
    calibration = list(split.model_inputs(images.calibrate[:2], student.input_spec))  # counts depend on no range
    int8 = quantize_imported.quantize_post_training(student.model, calibration, student.input_spec)
    figures["instructions"] = {name: count(name, data.detector.model, int8) for name in PROFILES}
    return figures


def difference_interval(truth: Any, first: Any, second: Any, labels: Any) -> list[float]:
    """The 95 % interval of mAP50 of `first` minus that of `second`, by draws of the same images."""
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(DRAWS):
        drawn = rng.integers(len(truth), size=len(truth))
        both = (
            coco_map.mean_average_precision([truth[row] for row in drawn], [each[row] for row in drawn], labels).map50
            for each in (first, second)
        )
        differences.append(next(both) - next(both))
    return [float(each) for each in np.quantile(differences, (0.025, 0.975))]


def count(profile: str, float_model: Any, int8_model: Any) -> dict[str, float]:
    """Million instructions of one image, predicted from counts."""
    device = devices.load_profile(profile)
    reference: Any = operator_counts.predict_cost(device, float_model, ONNX)
    costs: list[Any] = [operator_counts.predict_cost(device, int8_model, each) for each in device_costs.BACKENDS]
    fastest = min(cost.instructions for cost in costs)
    return {
        "float": reference.instructions / 1e6,
        "int8": fastest / 1e6,
        "times_fewer": reference.instructions / fastest,
    }


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
