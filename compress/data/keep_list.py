"""The list of images to keep: a CSV file with the columns file, label and group.

Names are relative to the list itself, as names in a goal file are relative to it, so list and images can move together.
It leaves out what a finding names; of copies under one label the first stays, of copies under two labels none. Near
copies stay, as one group.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from vedette.runtime.errors import ConfigProblem

from .audit.findings import Audit
from .groups import place, rows_of

COLUMNS = ("file", "label", "group")


def text(audit: Audit, folder: Path) -> bytes:
    """The list, its names relative to `folder`."""
    doubtful, base = audit.doubtful, folder.resolve()
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(COLUMNS)
    for label, paths in audit.images.items():
        for each in paths:
            if each not in doubtful:
                name = Path(os.path.relpath(place(each, Path()), base)).as_posix()
                table.writerow((name, label, audit.groups[each]))
    return written.getvalue().encode()


def restrict(images: Mapping[str, Sequence[Path]], path: Path) -> tuple[dict[str, list[Path]], dict[Path, str]]:
    """The images that the list at `path` names, and the groups that it gives them.

    Raises:
        ConfigProblem: it cannot be read, or it names none of the images.
    """
    rows = {place(row["file"], path.parent): row.get("group", "") for row in rows_of(path, ("file",))}
    kept = {label: [each for each in paths if place(each, Path()) in rows] for label, paths in images.items()}
    for label, paths in kept.items():
        if images[label] and not paths:
            hint = "names in it are relative to the list itself"
            raise ConfigProblem(f"{path}: it names none of the {len(images[label])} images labelled {label}", hint=hint)
    groups = {each: rows[place(each, Path())] for paths in kept.values() for each in paths}
    return kept, {each: group for each, group in groups.items() if group}
