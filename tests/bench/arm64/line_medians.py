"""The medians of what line_parts.py counted, from its stderr: a title for each part, and lines `counted N M`."""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict

import click

counted: dict[str, list[list[int]]] = defaultdict(list)
title = ""
for line in sys.stdin:
    if line.startswith("counted ") and title:
        counted[title][-1].append(int(line.split()[1]))
    elif line.startswith("part "):
        title = line.strip()
        counted[title].append([])
    else:
        sys.stderr.write(line)
if not counted:
    sys.exit("nothing was counted")
for title, parts in counted.items():
    output, event = (statistics.median(values) for values in zip(*(each[1:3] for each in parts), strict=True))
    click.echo(f"{title}: trigger to output {output / 1e6:.2f} million instructions, then the event {event / 1e6:.2f}")
