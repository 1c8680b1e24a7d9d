"""`make bench-splits`: the default build of each set on several divisions of its images, beside the targets.

For each set and `data.seed`, `vedette build --json` makes a bundle with default settings. The seed assigns whole groups
to fitting, calibration, threshold and test; all defective images are tested. It keeps the figures of each build in the
folder, and goes on where it stopped. The table has the AUROC of the int8 ONNX file by seed, the mean, the standard
deviation over the seeds, and what is missing to the target.

With --detector NAME every build takes this detector instead of the one that `auto` chooses; with --classify the good
and the defective images are two classes to learn, and the table has the accuracy. Both need a folder of their own.

Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --seeds 0,1, --detector NAME or --classify, --out FOLDER,
--render. It leaves `splits.md` in the folder; `--render` only writes the table of the builds that are there.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import bench_options
import click
import numpy as np
import sets
from image_sets import markdown_table

from vedette.runtime.bundle import keys

TARGETS = {
    "cookies": 0.99,
    "aliens": 0.99,
    "ballscrew": 0.95,
    "elpv-mono": 0.945,
    "elpv-poly": 0.89,
    "magnetic_tile": 0.90,
}
KEPT = ["false_alarm_rate", "detection_rate", "detector", "blocks", "parity_max_steps", "images"]
IN_CLASSIFY = {'"anomaly"': '"classify"', "min_auroc": "min_accuracy", "false_alarm_rate": "error_rate"}
BY_FILE = ["{}_int8_onnx", "{}_int8_tflite", "{}_fp32", "{}_interval_int8_onnx"]


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.render:
        for seed, name in itertools.product(options.seeds, options.sets):
            try:
                build(name, seed, options)
            except sets.Absent as reason:
                click.echo(f"{name}: skipped, {reason}", err=True)
    text = table(read(options), options)
    (options.out / "splits.md").write_text(text)
    click.echo(text)


def build(name: str, seed: int, options: Any) -> None:
    """Builds a set with a seed, unless that was done, and keeps its figures in NAME-SEED.json."""
    kept = options.out / f"{name}-{seed}.json"
    if kept.exists():
        return
    folder, key_folder = options.out / f"{name}-{seed}", options.out / "keys"
    if not key_folder.exists():
        keys.generate_key_pair(key_folder)
    goal, _ = sets.prepare(name, options.data, folder, seed)
    if options.classify:
        text = goal.read_text()
        for key, value in IN_CLASSIFY.items():
            text = text.replace(key, value)
        goal.write_text(text)
    if options.detector:
        goal.write_text(f'{goal.read_text()}\n[model]\ndetector = "{options.detector}"\n')
    command = [Path(sys.executable).with_name("vedette"), "build", goal, "--out", folder / "out", "--json"]
    start = time.monotonic()
    done = subprocess.run(
        [*command, "--key", key_folder / "vedette.key"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode not in (0, 1):  # 1: the goal is missed, which is no matter here
        raise SystemExit(f"vedette build {goal} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    facts = json.loads(done.stdout)
    keys_kept = [*(key.format(metric(options)) for key in BY_FILE), *KEPT]
    figures = {key: facts.get(key) for key in keys_kept} | {"seconds": time.monotonic() - start}
    kept.write_text(json.dumps(figures, indent=1) + "\n")
    click.echo(f"[{time.strftime('%H:%M:%S')}] {name}, seed {seed}: {figures[keys_kept[0]]:.4f}", err=True)


def metric(options: Any) -> str:
    """What the builds are judged by."""
    return "accuracy" if options.classify else "auroc"


def read(options: Any) -> dict[str, dict[int, dict[str, Any]]]:
    """The figures that are there, by set and seed."""
    paths = {(name, seed): options.out / f"{name}-{seed}.json" for name in options.sets for seed in options.seeds}
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for (name, seed), path in paths.items():
        if path.exists():
            found.setdefault(name, {})[seed] = json.loads(path.read_text())
    return found


def table(found: dict[str, dict[int, dict[str, Any]]], options: Any) -> str:
    """AUROC or accuracy of the int8 ONNX file by seed, mean and spread, as Markdown."""
    measured, targets = metric(options), {} if options.classify else TARGETS
    seeds = sorted({seed for each in found.values() for seed in each})
    lines = []
    for name, by_seed in found.items():
        values = [row[f"{measured}_int8_onnx"] for row in by_seed.values()]
        cells = [f"{by_seed[seed][f'{measured}_int8_onnx']:.3f}" if seed in by_seed else "" for seed in seeds]
        spread = f"{np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
        target = targets.get(name)
        wanted = [f"{target:.3f}", f"{max(target - float(np.mean(values)), 0):.3f}"] if target else ["", ""]
        floats = [row[f"{measured}_fp32"] for row in by_seed.values()]
        chosen = ", ".join(sorted({row["detector"] or "" for row in by_seed.values()}))
        lines.append([name, *cells, float(np.mean(values)), spread, *wanted, float(np.mean(floats)), chosen])
    heads = ["set", *(f"seed {seed}" for seed in seeds), "mean", "spread", "target", "missing", "float, mean", "chosen"]
    return markdown_table(heads, lines)


def _options() -> Any:
    parser = bench_options.make_parser("The default build on several divisions of each set.", "splits")
    parser.set_defaults(sets=list(TARGETS))
    parser.add_argument("--seeds", type=bench_options.numbers, default=list(range(5)))
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--detector")
    kind.add_argument("--classify", action="store_true")
    parser.add_argument("--render", action="store_true")
    return bench_options.parse(parser, (*sets.SETS, "elpv-all"))


if __name__ == "__main__":
    main()
