"""`make bench-curves`: the curves of docs/accuracy.md, from the benches that measure them, as SVG in docs/images.

    known          AUROC of each set by the number of known defects                        known.py
    choice         what is lost by the choice of the detector, by set                      choice.py
    contamination  AUROC by the share of defects among the good images                     contamination.py
    few            AUROC by the number of good images                                      few.py
    light          AUROC and false alarms by the strength of a change of the picture       light.py

Frames with pasted objects take part in `choice` and `few` alone. Each bench runs once for each set, in a folder of its
own, BENCH/SET below `--out`; a set that has its JSON file there is not measured again, so that the command goes on
where it stopped. The benches get the arguments of ARGUMENTS. Bars are the spread that a bench has: 1.96 standard errors
over folds and draws (known), the standard deviation of the draws (few).

Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --benches a,b, --out FOLDER, --images FOLDER, --render, which
measures nothing and draws what is there.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import bench_options
import choice_rules
import click
import known_tables
import numpy as np
import pasted_objects
from image_sets import write_chart

ROOT = Path(__file__).parents[2]
ARGUMENTS = {
    "known": "--parts curves",
    "choice": "--nuisances plain,turned,light",
    "contamination": "--seeds 0",
    "few": "--seeds 0,1,2",
    "light": "",
}
COUNTS = (1, 2, 4, 8, 16)
RATES = (0.0, 0.05, 0.1, 0.2)
ROBUST = "auroc 1.5"
CHANGES = ("gain", "gamma", "colour", "blur", "shift")
STRENGTHS = (0, 1, 2, 3)
Found = dict[str, Any]
"""By set: the content of a bench's JSON file; of `choice`: the variants by nuisance."""


def main() -> None:
    options = _options()
    for bench, name in itertools.product(options.benches, options.sets):
        if name in pasted_objects.CLIPS and bench not in ("choice", "few"):
            continue
        if not options.render and not measured(options.out / bench / name, bench):
            measure(bench, name, options)
    for bench in options.benches:
        found = read(bench, options)
        if found:
            CHARTS[bench](found, options.images)
        click.echo(f"{bench}: {', '.join(found) or 'nothing measured'}")


def measured(folder: Path, bench: str) -> bool:
    """Whether a set's bench is finished. `choice` keeps a file for each nuisance and knows itself which are missing."""
    return bench != "choice" and (folder / f"{bench}.json").exists()


def measure(bench: str, name: str, options: Any) -> None:
    """Runs a bench on one set."""
    command = [sys.executable, Path(__file__).with_name(f"{bench}.py"), "--data", options.data, "--sets", name]
    command += ["--out", options.out / bench / name, *ARGUMENTS[bench].split()]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        click.echo(f"{bench}, {name}: ended with code {done.returncode}", err=True)


def read(bench: str, options: Any) -> Found:
    """What is measured of a bench, by set."""
    found: Found = {}
    for name in options.sets:
        folder = options.out / bench / name
        if bench == "choice":
            paths = {path.stem.split("-")[-2]: path for path in sorted(folder.glob(f"{name}-*-*.json"))}
            variants = {at: choice_rules.Variant(**json.loads(path.read_text())) for at, path in paths.items()}
            found |= {name: variants} if variants else {}
        elif (folder / f"{bench}.json").exists():
            content = json.loads((folder / f"{bench}.json").read_text())
            content = content["sets"].get(name) if isinstance(content, dict) else content
            found |= {name: content} if content else {}
    return found


def draw_known(found: Found, images: Path) -> None:
    """Known defects: each set, with the range of the gain."""
    values = {name: known_tables.curve_values(each["rows"]) for name, each in found.items()}
    write_chart(
        images / "known.svg",
        "AUROC, bars: 1.96 standard errors",
        "known defects",
        list(map(str, known_tables.COUNTS)),
        {name: curve for name, (curve, _) in values.items()},
        spreads={name: spread for name, (_, spread) in values.items()},
    )


def draw_choice(found: Found, images: Path) -> None:
    """Regret of the product's rule on each set, one mark for each nuisance."""
    nuisances = sorted({nuisance for each in found.values() for nuisance in each})
    marks = {
        nuisance: [
            choice_rules.rule_regrets(each[nuisance], choice_rules.TODAY) if nuisance in each else float("nan")
            for each in found.values()
        ]
        for nuisance in nuisances
    }
    names = [re.sub("^(magnetic_|scene-|elpv-)", "", name) for name in found]
    title = "AUROC of the best design less that of the chosen one"
    write_chart(images / "choice.svg", title, "set", names, marks, lines=False)


def draw_contamination(found: Found, images: Path) -> None:
    """A fit to all images and the robust fit, means of the sets, and the robust fit of each set."""
    ticks, title = [f"{rate:.0%}" for rate in RATES], "defects among good images"
    curves = {
        label: [_mean(_by(each, rate=rate, key=key) for each in found.values()) for rate in RATES]
        for label, key in (("all images", "auroc all"), ("robust", ROBUST))
    }
    write_chart(images / "contamination.svg", "AUROC, mean of the sets", title, ticks, curves)
    by_set = {name: [_mean([_by(rows, rate=rate, key=ROBUST)]) for rate in RATES] for name, rows in found.items()}
    write_chart(images / "contamination-sets.svg", "AUROC of the robust fit", title, ticks, by_set)


def draw_few(found: Found, images: Path) -> None:
    """Each model, means of the sets, and the product on each set with the standard deviation of the draws."""
    ticks = list(map(str, COUNTS))
    keys = (key for rows in found.values() for row in rows for key in row)
    models = dict.fromkeys(key for key in keys if key.startswith(("patchcore", "padim", "anomalib")))
    curves = {
        model: [_mean(_by(rows, images=count, key=model) for rows in found.values()) for count in COUNTS]
        for model in ("product", *models)
    }
    write_chart(images / "few.svg", "AUROC, mean of the sets", "good images", ticks, curves)
    draws = {
        name: [[row["product"] for row in rows if row["images"] == n] for n in COUNTS] for name, rows in found.items()
    }
    write_chart(
        images / "few-sets.svg",
        "AUROC of the product, bars: standard deviation of the draws",
        "good images",
        ticks,
        {name: [float(np.mean(each)) for each in values] for name, values in draws.items()},
        spreads={name: [float(np.std(each)) for each in values] for name, values in draws.items()},
    )


def draw_light(found: Found, images: Path) -> None:
    """AUROC and false alarms by the strength of each change, means of the sets."""

    def curve(change: str, key: str) -> list[float]:
        keys = ["none 0" if not strength else f"{change} {strength}" for strength in STRENGTHS]
        return [_mean(each["changes"][at][key] for each in found.values()) for at in keys]

    ticks, title = list(map(str, STRENGTHS)), "strength of the change"
    rates = {change: curve(change, "auroc") for change in CHANGES}
    write_chart(images / "light-auroc.svg", "AUROC, mean of the sets", title, ticks, rates)
    alarms = {change: curve(change, "false build") for change in CHANGES}
    alarms["all, recalibrated"] = np.mean([curve(change, "false conformal") for change in CHANGES], axis=0).tolist()
    write_chart(images / "light-alarms.svg", "false alarms, mean of the sets", title, ticks, alarms)


CHARTS: dict[str, Callable[[Found, Path], None]] = {
    "known": draw_known,
    "choice": draw_choice,
    "contamination": draw_contamination,
    "few": draw_few,
    "light": draw_light,
}


def _by(rows: list[dict[str, Any]], key: str, **wanted: Any) -> float:
    """Mean of a figure over the rows with these values."""
    return _mean(row[key] for row in rows if key in row and all(row[name] == value for name, value in wanted.items()))


def _mean(values: Iterable[float]) -> float:
    listed = [value for value in values if not np.isnan(value)]
    return float(np.mean(listed)) if listed else float("nan")


def _options() -> Any:
    parser = bench_options.make_parser("The curves of docs/accuracy.md.", "curves")
    parser.add_argument("--benches", type=lambda text: text.split(","), default=list(CHARTS))
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--render", action="store_true")
    options = bench_options.parse(parser)
    if unknown := set(options.benches) - set(CHARTS):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(CHARTS)}")
    return options


if __name__ == "__main__":
    main()
