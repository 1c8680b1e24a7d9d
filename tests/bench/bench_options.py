"""The options that the benches over sets of images have in common."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
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


def numbers(text: str) -> list[int]:
    """The numbers of an option such as `--seeds 0,1`."""
    return list(map(int, text.split(",")))


def parse(parser: argparse.ArgumentParser, among: Sequence[str] = sets.SETS) -> Any:
    """The options of the command line; a set that is not among these ends the program."""
    options = parser.parse_args()
    options.data, options.out = options.data.resolve(), options.out.resolve()
    if unknown := set(options.sets) - set(among):
        parser.error(f"no such set: {', '.join(sorted(unknown))}; there are {', '.join(among)}")
    return options
