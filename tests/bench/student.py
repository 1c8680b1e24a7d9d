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

from vedette.compress.models import efficientnet_lite
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference.preprocess import Preprocess

BLOCKS = (2, 4, 10)
WEIGHTS = (0.25, 0.5, 1.0, 2.0)


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
    listed = sets.list_images(name, options, seed, np.random.default_rng(seed))
    preprocess = Preprocess(efficientnet_lite.backbone_input_spec(image_sets.SIZE))
    images = [preprocess(image_files.read_image(path)) for path in (*listed.good, *listed.defective)]
    levels, folds = image_sets.extract(images, BLOCKS), assign_folds(listed.groups, seed).numpy()
    defective = np.arange(len(listed.good), len(images))
    figures: dict[str, list[float]] = {}
    for fold in sorted(set(folds.tolist())):
        fitted, tested = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        student = image_sets.fit("student", [level[fitted] for level in levels], BLOCKS)
        models = {"PaDiM": (student.padim, levels[1:])}
        models |= {f"student, {weight:g}": (student, levels) for weight in WEIGHTS}
        for label, (model, read) in models.items():
            if model is student:
                student.reading.smooth.weight[0, 1] = float(label.split()[1]) / 9
            good, bad = (image_sets.score(model, [level[part] for level in read]) for part in (tested, defective))
            figures.setdefault(label, []).append(auroc(good, bad))
        student.reading.smooth.weight[0, 0] = 0
        good, bad = (image_sets.score(student, [level[part] for level in levels]) for part in (tested, defective))
        figures.setdefault("student alone", []).append(auroc(good, bad))
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
