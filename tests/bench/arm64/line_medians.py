"""The medians of what line_parts.py counted, from its stderr."""

from __future__ import annotations

import statistics
import sys

import click
from counted_lines import read_counts

for title, parts in read_counts(sys.stdin, "part").items():
    output, event = (statistics.median(values) for values in zip(*(each[1:3] for each in parts), strict=True))
    click.echo(
        f"part {title}: trigger to output {output / 1e6:.2f} million instructions, then the event {event / 1e6:.2f}"
    )
