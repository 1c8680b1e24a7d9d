"""A table of what rule_frames.py counted, from its stderr: million instructions of a frame, the median and the most."""

from __future__ import annotations

import statistics
import sys

import click
from counted_lines import read_counts

table: dict[str, dict[int, list[int]]] = {}
for title, frames in read_counts(sys.stdin, "frame").items():
    name, people = title.split("|")
    table.setdefault(name, {})[int(people)] = [each[1] for each in frames]
columns = sorted({people for row in table.values() for people in row})
click.echo("million instructions of a frame, median / most, with so many people:")
click.echo("".join([f"{'':<36}", *(f"{people:>18}" for people in columns)]))
for name, row in table.items():
    cells = [
        f"{statistics.median(row[people]) / 1e6:.3f} / {max(row[people]) / 1e6:.3f}" if people in row else ""
        for people in columns
    ]
    click.echo("".join([f"{name:<36}", *(f"{cell:>18}" for cell in cells)]))
