"""`make bench-student`: PaDiM beside PaDiM with a student, by weight of the student.

Float features of block 2, 4 and 10 at 224 pixels. The good images are divided into three folds by group; a model is
fitted to two of them, and the third is tested against the defective images. It leaves `student.json` and `student.md`
in the folder, and goes on where it stopped.

Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --good N, --defective N, --seeds 0,1, --out FOLDER.
"""

from __future__ import annotations

import json
import time
from typing import Any

import bench_options
import click
import image_sets
import numpy as np
import sets
import torch
from generality import assign_folds

from vedette.runtime.evaluation.metrics import auroc

BLOCKS = (2, 4, 10)
WEIGHTS = {f"student, {weight:g}": (1.0, weight) for weight in (0.25, 0.5, 1.0, 2.0)} | {"student alone": (0.0, 1.0)}
"""Of PaDiM's distance and of the student's error."""


def main() -> None:
    parser = bench_options.make_parser("PaDiM beside PaDiM with a student.", "student")
    parser.add_argument("--good", type=int, default=300)
    parser.add_argument("--defective", type=int, default=150)
    parser.add_argument("--seeds", type=bench_options.numbers, default=[0])
    options = bench_options.parse(parser)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "student.json"
    found: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.is_file() else {}
    for name in options.sets:
        for seed in options.seeds:
            key = f"{name}, {seed}"
            if key in found:
                continue
            try:
                found[key] = measure(name, options, seed)
            except sets.Absent as reason:
                click.echo(f"{name}: skipped, {reason}", err=True)
                break
            file.write_text(json.dumps(found, indent=2) + "\n")
            click.echo(f"[{time.strftime('%H:%M:%S')}] {key}: {found[key]}", err=True)
    (options.out / "student.md").write_text(table(found))
    click.echo(table(found))


def measure(name: str, options: Any, seed: int) -> dict[str, float]:
    """Mean AUROC of each model over the folds."""
    images = image_sets.read_set(name, options, seed, BLOCKS)
    folds = assign_folds(images.groups, seed)
    figures: dict[str, list[float]] = {}
    for fold in sorted(set(folds.tolist())):
        tested = [level[folds == fold] for level in images.good]
        student = image_sets.fit("student", [level[folds != fold] for level in images.good], BLOCKS)
        padim = [image_sets.score(student.padim, levels[1:]) for levels in (tested, images.defective)]
        figures.setdefault("PaDiM", []).append(auroc(*padim))
        for label, weights in WEIGHTS.items():
            student.reading.smooth.weight[0] = torch.tensor(weights)[:, None, None] / 9
            good, defective = (image_sets.score(student, levels) for levels in (tested, images.defective))
            figures.setdefault(label, []).append(auroc(good, defective))
    return {label: float(np.mean(values)) for label, values in figures.items()}


def table(found: dict[str, dict[str, float]]) -> str:
    """AUROC by set, means of the seeds."""
    names = list(dict.fromkeys(key.split(", ")[0] for key in found))
    heads = list(next(iter(found.values()), {}))
    of_set = {name: [row for key, row in found.items() if key.startswith(f"{name},")] for name in names}
    rows = [[name, *(float(np.mean([row[head] for row in of_set[name]])) for head in heads)] for name in names]
    means = [float(np.mean(column)) for column in list(zip(*rows, strict=True))[1:]]
    return image_sets.markdown_table(["set", *heads], [*rows, ["mean", *means]])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
