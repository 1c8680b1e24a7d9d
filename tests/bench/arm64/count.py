"""How many instructions one inference takes on an Arm core that is not there: `make count-arm64 MODELS="model.onnx …"`.

The model runs on one thread in the back end's own arm64 wheel, in QEMU's user emulation with a plugin that counts. What
is counted are the true instructions of the true kernels, and they repeat (LiteRT's to the instruction, ONNX Runtime's
to 0.01 %, of which the median of some runs is taken), so they serve for comparing models and for finding regressions.
They are no cycles: nothing waits for memory here, and no two instructions go at once. Milliseconds do not follow from
them alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click

HERE = Path(__file__).parent
# The name of a root that `setup` made -> the core that QEMU emulates under it.
CORES = {
    "cortex-a53": "cortex-a53",
    "cortex-a72": "cortex-a72",
    "cortex-a76": "cortex-a76",
    "cortex-a78ae": "cortex-a76",
}


class Count(NamedTuple):
    """One inference of one model."""

    model: str
    core: str
    instructions: int
    dot_products: int


def count(folder: Path, core: str, models: Sequence[Path]) -> Iterator[Count]:
    """The instructions of each model on `core`, as they become known.

    Args:
        folder: what `setup` made
        core: one of CORES
        models: .onnx and .tflite files; what cannot be run is said on stderr and left out

    Raises:
        SystemExit: the emulated process ended before all were counted.
    """
    if not (folder / core).is_dir():
        sys.exit(f"{folder}: no {core} in it; run {HERE / 'setup'} {folder} (needs root)")
    root = folder / core
    command = ["setarch", "-R", "qemu-aarch64", "-cpu", CORES[core], "-plugin", folder / "counter.so", "-d", "plugin"]
    command += ["-L", root, root / "usr/bin/python3.11", HERE / "inference.py"]
    environment = {
        "PATH": os.defpath,
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": folder / "site",
    }
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stderr is not None
    with process:
        process.stdin.write("".join(f"{path.resolve()}\n" for path in models))
        process.stdin.close()
        counted, rest = None, []
        for line in process.stderr:
            if found := re.match(r"counted (\d+) (\d+)", line):
                if counted is not None:
                    counted[1].append((int(found[1]), int(found[2])))
            elif line.startswith("model "):
                if counted is not None:
                    yield _median(core, *counted)
                counted = (line.removeprefix("model ").strip(), [])
            else:
                rest.append(line)
                if line.startswith("refused "):
                    sys.stderr.write(line)
        if process.wait() != 0:
            sys.exit(f"the emulated process failed:\n{''.join(rest[-20:])}")
        if counted is not None:
            yield _median(core, *counted)


def _median(core: str, model: str, runs: list[tuple[int, int]]) -> Count:
    """Of all runs but what came before the first."""
    instructions, dot_products = zip(*runs[1:], strict=True)
    return Count(model, core, int(statistics.median(instructions)), int(statistics.median(dot_products)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the instructions of one inference on emulated Arm cores.")
    parser.add_argument("folder", type=Path, help="what setup made")
    parser.add_argument("models", type=Path, nargs="+", help=".onnx or .tflite")
    parser.add_argument("--core", choices=CORES, action="append", help="default: all")
    arguments = parser.parse_args()
    for core in arguments.core or CORES:
        for each in count(arguments.folder, core, arguments.models):
            click.echo(json.dumps(each._asdict()))


if __name__ == "__main__":
    main()
