"""`make bench-search`: what a search gains and loses against the build that a user gets without it.

Each set is searched for each device with the asked speedup. The report of a search has both: the chosen design and the
default build, measured on the same held-out test images (`default_build` in report.json). Instructions are predicted
from counts (docs/devices.md); the speedup is against the float reference of `min_speedup`.

It leaves `search_gain.json` in the folder, and prints a table.

Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --seeds 0,1, --good N, --defective N, --asked pi4=7,pi5=10
(0: as cheap as the search likes), --time 150s, --out FOLDER.
"""

from __future__ import annotations

import csv
import json
import shutil
import time
from pathlib import Path
from typing import Any

import bench_options
import click
import image_sets
import numpy as np
import sets
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vedette.compress import build
from vedette.compress.goal.duration import parse_duration

GOAL = """\
name = "{name}"
task = "anomaly"
[data]
good = "good"
defect = "defect"
group = "groups.csv"
seed = {seed}
[device]
profile = "{profile}"
[goal]
{speedup}
"""


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for name in options.sets:
        for seed in options.seeds:
            folder = options.out / f"{name}-{seed}"
            try:
                write_images(name, options, seed, folder)
            except sets.Absent as reason:
                click.echo(f"{name}: skipped, {reason}", err=True)
                continue
            for profile, speedup in options.asked.items():
                rows.append({"set": name, "seed": seed, **search(name, seed, profile, speedup, folder, options)})
                (options.out / "search_gain.json").write_text(json.dumps(rows, indent=1) + "\n")
                click.echo(f"[{time.strftime('%H:%M:%S')}] {rows[-1]}", err=True)
    click.echo(table(rows))


def write_images(name: str, options: Any, seed: int, folder: Path) -> None:
    """At most `--good` and `--defective` images of a set with their groups, as a folder of its own."""
    images = sets.list_images(name, options, seed, np.random.default_rng(seed))
    for label, paths in (("good", images.good), ("defect", images.defective)):
        shutil.rmtree(folder / label, ignore_errors=True)
        (folder / label).mkdir(parents=True)
        for number, path in enumerate(paths):
            shutil.copy(path, folder / label / f"{number:04d}{path.suffix}")
    with (folder / "groups.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "group"])
        for number, (path, group) in enumerate(zip(images.good, images.groups, strict=True)):
            writer.writerow([f"good/{number:04d}{path.suffix}", group])


def search(name: str, seed: int, profile: str, speedup: float, folder: Path, options: Any) -> dict[str, Any]:
    """The figures of one search."""
    goal = folder / f"{profile}.toml"
    wish = f"min_speedup = {speedup}" if speedup else ""
    goal.write_text(GOAL.format(name=f"{name}-{profile}", seed=seed, profile=profile, speedup=wish))
    request = build.BuildRequest(
        goal, folder / profile, Ed25519PrivateKey.generate(), search_seconds=parse_duration(options.time)
    )
    start = time.monotonic()
    measured = build.build(request, log=lambda line: click.echo(line, err=True)).manifest.measured
    default, accurate = measured["default_build"], measured["most_accurate"]
    cost = min(each["instructions"] for each in measured["on_device"].values())
    return {
        "profile": profile,
        "asked": speedup,
        "chosen": {key: measured[key] for key in ("detector", "blocks", "input", "kept")},
        "default": {key: default[key] for key in ("detector", "blocks", "input", "kept")},
        "speedup": measured["speedup"],
        "instructions": cost,
        "instructions_default": default["effort"],
        "auroc": measured["auroc_int8_onnx"],
        "auroc_default": default["auroc_int8_onnx"],
        "difference": default["auroc_difference"],
        "interval": default["auroc_difference_interval"],
        "auroc_most_accurate_float": accurate["auroc_fp32"],
        "images": measured["images"],
        "minutes": (time.monotonic() - start) / 60,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """A row for each search, as a Markdown table."""
    heads = ["set", "for, asked", "chosen", "AUROC", "default build", "difference", "speedup", "instructions, default"]
    lines = [
        [
            f"{row['set']}, {row['seed']}",
            f"{row['profile']}, {row['asked']:g}x",
            f"{row['chosen']['blocks']}, {row['chosen']['input']} px, {row['chosen']['kept']:.0%}",
            row["auroc"],
            row["auroc_default"],
            f"{row['difference']:+.3f} ({row['interval'][0]:+.3f} to {row['interval'][1]:+.3f})",
            f"{row['speedup']:.1f}x",
            f"{row['instructions'] / 1e6:.1f}, {row['instructions_default'] / 1e6:.1f} million",
        ]
        for row in rows
    ]
    return image_sets.markdown_table(heads, lines)


def _options() -> Any:
    parser = bench_options.make_parser("A search against the build without it.", "search")
    parser.add_argument("--seeds", type=bench_options.numbers, default=[0])
    parser.add_argument("--good", type=int, default=450)
    parser.add_argument("--defective", type=int, default=260)
    parser.add_argument("--asked", type=_asked, default={"pi4": 7.0, "pi5": 10.0})
    parser.add_argument("--time", default="150s")
    return bench_options.parse(parser)


def _asked(text: str) -> dict[str, float]:
    """`pi4=7,pi5=10`"""
    return {profile: float(speedup) for profile, speedup in (each.split("=") for each in text.split(","))}


if __name__ == "__main__":
    main()
