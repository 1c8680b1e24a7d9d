"""The options that the benches over sets of images have in common."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import sets

ROOT = Path(__file__).parents[2]


def make_parser(description: str, folder: str) -> argparse.ArgumentParser:
    """--data, --sets and --out, by default `folder` below `build/bench`."""
    parser = argparse.ArgumentParser(description=description)
    data = os.environ.get("VEDETTE_BENCH_DATA", ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(data))
    parser.add_argument("--sets", type=lambda text: text.split(","), default=list(sets.SETS))
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / folder)
    return parser


def parse(parser: argparse.ArgumentParser) -> Any:
    """The options of the command line; a set that does not exist ends the program."""
    options = parser.parse_args()
    options.data, options.out = options.data.resolve(), options.out.resolve()
    if unknown := set(options.sets) - set(sets.SETS):
        parser.error(f"no such set: {', '.join(sorted(unknown))}; there are {', '.join(sets.SETS)}")
    return options
