"""Which images belong together: pictures of one part, one shift, one module, and copies of each other."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vedette.runtime.errors import ConfigProblem

FOLDER = "folder"


def of(
    images: Mapping[str, Sequence[Path]], folders: Mapping[str, Path], rule: str | None, base: Path
) -> dict[Path, str]:
    """The group of each image.

    Args:
        images: by label
        folders: of each label; names are taken below it
        rule: `folder`, the name of a CSV file (columns file and group), or a regular expression on the name whose first
            group, or whole match, is the image's group; an image to which it says nothing is a group of its own
        base: the CSV file is relative to it

    Raises:
        ConfigProblem: the rule is no regular expression, or the CSV file is missing, malformed or names no image.
    """
    alone = {
        path: f"{label}/{path.relative_to(folders[label]).as_posix()}"
        for label, paths in images.items()
        for path in paths
    }
    if rule is None:
        return alone
    if rule.lower().endswith(".csv"):
        return alone | _listed(base / rule, images, folders)
    if rule == FOLDER:
        return {
            path: parent.as_posix() if (parent := path.relative_to(folders[label]).parent) != Path() else alone[path]
            for label, paths in images.items()
            for path in paths
        }
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise ConfigProblem(f"group: {error}", hint="mend the regular expression") from None
    found = {
        path: pattern.search(path.relative_to(folders[label]).as_posix())
        for label, paths in images.items()
        for path in paths
    }
    named = {path: match.group(1) if pattern.groups else match.group() for path, match in found.items() if match}
    return alone | {path: name for path, name in named.items() if name is not None}


def _listed(path: Path, images: Mapping[str, Sequence[Path]], folders: Mapping[str, Path]) -> dict[Path, str]:
    rows = rows_of(path, ("file", "group"))
    named = {place(row["file"], path.parent): row["group"] for row in rows if row["group"]}
    below = {Path(row["file"]).as_posix(): row["group"] for row in rows if row["group"]}
    groups = {}
    for label, paths in images.items():
        for each in paths:
            group = named.get(place(each, Path())) or below.get(each.relative_to(folders[label]).as_posix())
            if group:
                groups[each] = group
    if not groups:
        hint = "names are relative to the CSV file or to the folder of the images"
        raise ConfigProblem(f"{path}: it names no image", hint=hint)
    return groups


def rows_of(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with a head.

    Raises:
        ConfigProblem: it cannot be read, or a column is missing.
    """
    hint = f"a CSV file whose first line is {','.join(columns)}"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or [])]
            rows = [{key: value or "" for key, value in row.items() if key is not None} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigProblem(f"{path}: it cannot be read: {error}", hint=hint) from None
    if missing:
        raise ConfigProblem(f"{path}: no column {', '.join(missing)}", hint=hint)
    return rows


def place(name: str | Path, base: Path) -> Path:
    """Where a file is, whichever way its folder is written; a link stays itself."""
    path = base / name
    return path.parent.resolve() / path.name


def joined(groups: Mapping[Path, str], pairs: Iterable[tuple[Path, Path]]) -> dict[Path, str]:
    """The groups, those that a pair connects made one (union-find); it has the name of the first in order."""
    parent = {name: name for name in groups.values()}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one, other in pairs:
        if one in groups and other in groups:
            first, second = sorted((root(groups[one]), root(groups[other])))
            parent[second] = first
    return {path: root(name) for path, name in groups.items()}
