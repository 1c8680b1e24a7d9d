"""The keep list: a CSV file of the images to keep, with the columns file, label and group.

File names are relative to the list, as in a goal file, so list and images can move together. The list omits images with
a finding. If exact duplicates have one label, the list keeps the first. If they have different labels, it keeps none.
It keeps near duplicates as one group.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from vedette.runtime.errors import ConfigProblem

from .audit.findings import AuditResult
from .groups import absolute_path, read_csv_rows

KEEP_LIST_COLUMNS = ("file", "label", "group")


def format_keep_list(audit: AuditResult, folder: Path) -> bytes:
    """Formats the keep list of an audit, with file names relative to `folder`."""
    doubtful, base = audit.doubtful_images, folder.resolve()
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(KEEP_LIST_COLUMNS)
    for label, paths in audit.images.items():
        for path in paths:
            if path not in doubtful:
                name = Path(os.path.relpath(absolute_path(path, Path()), base)).as_posix()
                table.writerow((name, label, audit.groups[path]))
    return text.getvalue().encode()


def restrict_to_keep_list(
    images: Mapping[str, Sequence[Path]], path: Path
) -> tuple[dict[str, list[Path]], dict[Path, str]]:
    """Returns the images that the keep list at `path` names, by label, and their groups in the list.

    Raises:
        ConfigProblem: the list cannot be read, or names no image of a label.
    """
    rows = {absolute_path(row["file"], path.parent): row.get("group", "") for row in read_csv_rows(path, ("file",))}
    groups: dict[Path, str] = {}
    for image in (image for paths in images.values() for image in paths):
        if (group := rows.get(absolute_path(image, Path()))) is not None:
            groups[image] = group
    selected = {label: [image for image in paths if image in groups] for label, paths in images.items()}
    for label, paths in selected.items():
        if images[label] and not paths:
            hint = "file names in the list are relative to the list"
            raise ConfigProblem(
                f"{path}: the list names none of the {len(images[label])} images labelled {label}", hint=hint
            )
    return selected, {image: group for image, group in groups.items() if group}
