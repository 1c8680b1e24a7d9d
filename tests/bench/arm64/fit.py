"""Fits the devices' costs to what was counted, and says how far off they are on models that nothing was fitted to.

    setup build/arm64                                        # once; needs root
    graphs.py build/graphs                                   # the models
    count.py build/arm64 build/graphs/* > counts.jsonl       # their instructions on each core; takes an hour
    fit.py build/graphs counts.jsonl [--write]               # this; --write puts the costs into devices/profiles

    pieces.py build/pieces                                   # what detectors are made of
    count.py build/arm64 build/pieces/* > pieces.jsonl       # ten minutes
    fit.py build/pieces pieces.jsonl --keep [--write]        # kinds that the profiles lack; the others' prices are kept

Non-negative least squares on relative errors. How many channels a kernel takes at a time is not looked up but tried
out: that which fits best. Fitted to the made networks and to our smaller models; held back are both classifiers and all
detectors at 128, 192 and 224 pixels.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import msgspec
import numpy as np
import onnx
from count import CORES
from extend import AMOUNTS, Counted, extended, priced
from numpy.typing import NDArray
from scipy.optimize import nnls

from vedette import devices
from vedette.compress.cost import operator_counts as work
from vedette.devices.cost_model import ChannelTile, CostModel, OperatorCount, Precision, PrecisionCosts

PROFILES = Path(__file__).parents[3] / "devices" / "profiles"
DEVICES = {
    "cortex-a53": ("zero2w", "pi3"),
    "cortex-a72": ("pi4",),
    "cortex-a76": ("pi5",),
    "cortex-a78ae": ("jetson-orin-nano",),
}
VERSIONS = {"onnx": "ONNX Runtime 1.32.0", "tflite": "LiteRT 2.3.0"}
MARK = "# What follows was written by tests/bench/arm64/fit.py."
HELD = ("128", "192", "224")  # our models of these input sizes are held back
WEIGHT = 3  # of ours in the fit, against 1 of a made network
TILES = {
    "int8": [ChannelTile(inputs, outputs) for inputs in (1, 4, 8) for outputs in (1, 4, 8, 16)],
    "float32": [ChannelTile(1, outputs) for outputs in (1, 4, 8, 16)],
}


def read(graphs: Path, counts: Iterable[str]) -> dict[tuple[str, str], list[Counted]]:
    """What was counted, by core and back end."""
    found: dict[tuple[str, str], list[Counted]] = {}
    cache: dict[tuple[str, str], list[OperatorCount]] = {}
    for line in counts:
        entry = json.loads(line)
        name, precision, backend = Path(entry["model"]).name.rsplit(".", 2)
        graph = graphs / f"{name}.{precision}.onnx"
        if (str(graph), backend) not in cache:
            cache[str(graph), backend] = work.count_operators(onnx.load(graph), backend)
        kind: Precision = "int8" if precision == "int8" else "float32"
        each = Counted(name, kind, cache[str(graph), backend], entry["instructions"])
        found.setdefault((entry["core"], backend), []).append(each)
    return found


def fit(models: Sequence[Counted], held: Sequence[Counted], source: str) -> CostModel:
    """The costs that `models` took; errors are those on `held`."""
    precisions = sorted({each.precision for each in models})
    best, least = None, np.inf
    for tiles in itertools.product(*(TILES[each] for each in precisions)):
        chosen = dict(zip(precisions, tiles, strict=True))
        solution, residual = _solve(models, chosen)
        if residual < least:
            best, least = (chosen, solution), residual
    assert best is not None
    model = _model(*best, source)
    costs = {}
    for precision, each in model.precisions.items():
        fitted, apart = (_errors(model, which, precision) for which in (models, held))
        worst = round(float(apart.max()), 4)
        figures = round(float(np.median(apart)), 4), worst, max(worst, round(float(fitted.max()), 4))
        costs[precision] = PrecisionCosts(each.kinds, *figures, each.tile)
    return CostModel(model.per_run, costs, source)


def _errors(model: CostModel, models: Sequence[Counted], precision: Precision) -> NDArray[np.float64]:
    off = [model.predict_instructions(one.works) / one.instructions - 1 for one in models if one.precision == precision]
    return np.abs(off or [np.nan])


def _columns(models: Sequence[Counted]) -> list[tuple[str, str]]:
    return sorted({(work.precision, work.operator_class) for each in models for work in each.works})


def _solve(
    models: Sequence[Counted], tiles: dict[Precision, ChannelTile]
) -> tuple[dict[tuple[str, str] | None, NDArray[np.float64]], float]:
    columns = _columns(models)
    matrix = np.zeros((len(models), AMOUNTS * len(columns) + 1))
    matrix[:, -1] = 1
    for row, each in zip(matrix, models, strict=True):
        for one in each.works:
            start = AMOUNTS * columns.index((one.precision, one.operator_class))
            row[start : start + AMOUNTS] += tiles[one.precision].count_quantities(one)
        np.multiply(row, _weight(each) / each.instructions, out=row)
    scale = matrix.max(axis=0)
    scale[scale == 0] = 1
    values, residual = nnls(matrix / scale, [float(_weight(each)) for each in models], maxiter=100_000)
    values /= scale
    parted: dict[tuple[str, str] | None, NDArray[np.float64]] = {
        column: values[AMOUNTS * number : AMOUNTS * (number + 1)] for number, column in enumerate(columns)
    }
    parted[None] = values[-1:]
    return parted, float(residual)


def _title(core: str) -> str:
    return f"Cortex-{core.removeprefix('cortex-').upper()}"


def _weight(model: Counted) -> int:
    return 1 if model.name.startswith("made-") else WEIGHT


def _model(
    tiles: dict[Precision, ChannelTile], solution: dict[tuple[str, str] | None, NDArray[np.float64]], source: str
) -> CostModel:
    costs = {}
    for precision, tile in tiles.items():
        kinds = {
            column[1]: priced(values)
            for column, values in solution.items()
            if column is not None and column[0] == precision
        }
        costs[precision] = PrecisionCosts(kinds, 0.0, 0.0, 0.0, tile)
    return CostModel(float(f"{solution[None][0]:.4g}"), costs, source)


def toml(costs: dict[str, CostModel]) -> str:
    """The costs as the end of a profile."""
    lines = [MARK]
    for backend, model in sorted(costs.items()):
        lines += ["", f"[costs.{backend}]", f"per_run = {model.per_run}", f'source = "{model.source}"']
        for precision, each in sorted(model.precisions.items()):
            lines += ["", f"[costs.{backend}.precisions.{precision}]"]
            lines += [f"error_median = {each.error_median}", f"error_worst = {each.error_worst}"]
            lines += [f"spread = {each.spread}"]
            lines += [f"tile = {{ inputs = {each.tile.inputs}, outputs = {each.tile.outputs} }}"]
            if each.added:
                lines += [f"added = {json.dumps(each.added)}", f"added_spread = {each.added_spread}"]
            lines += ["", f"[costs.{backend}.precisions.{precision}.kinds]"]
            for kind, cost in sorted(each.kinds.items()):
                told = ", ".join(f"{name} = {value}" for name, value in msgspec.structs.asdict(cost).items() if value)
                lines += [f"{kind} = {{ {told} }}"]
    return "\n".join(lines) + "\n"


def table(found: dict[tuple[str, str], CostModel], held: int) -> str:
    """The errors, in Markdown."""
    lines = [f"| core | back end | precision | median of {held} | worst | spread |", "|---|---|---|---|---|---|"]
    for (core, backend), model in sorted(found.items()):
        for precision, each in sorted(model.precisions.items()):
            errors = f"{each.error_median:.1%} | {each.error_worst:.1%} | {each.spread:.1%}"
            lines.append(f"| {_title(core)} | {VERSIONS[backend]} | {precision} | {errors} |")
    return "\n".join(lines)


def told(core: str, backend: str, model: CostModel, models: Iterable[Counted]) -> None:
    """How far off the costs are for each of `models`."""
    for each in models:
        off = model.predict_instructions(each.works) / each.instructions - 1
        click.echo(f"{core} {backend} {each.precision:8} {each.name:40} {each.instructions / 1e6:8.2f} M {off:+.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the devices' costs to counted instructions.")
    parser.add_argument("graphs", type=Path)
    parser.add_argument("counts", type=Path, nargs="+", help="what count.py printed")
    parser.add_argument("--write", action="store_true", help="put the costs into devices/profiles")
    parser.add_argument("--details", action="store_true", help="print how far off each model is that was held back")
    parser.add_argument("--keep", action="store_true", help="fit only the kinds that the profiles lack")
    parser.add_argument(
        "--again", action="append", default=[], metavar="KIND", help="with --keep: this one all the same"
    )
    arguments = parser.parse_args()
    lines = [line for path in arguments.counts for line in path.read_text().splitlines()]
    found, most = {}, 0
    for (core, backend), counted in sorted(read(arguments.graphs, lines).items()):
        if arguments.keep:
            known = devices.load_profile(DEVICES[core][0]).costs[backend]
            found[core, backend] = extended(known, counted, arguments.again)
            told(core, backend, found[core, backend], counted if arguments.details else ())
            continue
        held = [each for each in counted if each.name.startswith("ours-") and each.name.split("-")[2] in HELD]
        models = [each for each in counted if each not in held]
        cores = _title(core) + (f" emulated as {_title(CORES[core])}" if CORES[core] != core else "")
        source = f"instructions counted under QEMU, {cores}, {VERSIONS[backend]}, one thread, {len(models)} networks"
        found[core, backend] = model = fit(models, held, source)
        most = max(most, len({each.name for each in held}))
        told(core, backend, model, held if arguments.details else ())
    if not arguments.keep:
        click.echo(table(found, most))
    for core, names in DEVICES.items() if arguments.write else ():
        costs = {backend: model for (which, backend), model in found.items() if which == core}
        for path in (PROFILES / f"{name}.toml" for name in names):
            if costs:
                path.write_text(path.read_text().partition(MARK)[0].rstrip() + "\n\n" + toml(costs))


if __name__ == "__main__":
    main()
