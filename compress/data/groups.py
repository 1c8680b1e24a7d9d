"""Groups of images that a split keeps together: images of one part, shift or module, and duplicates of each other."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from vedette.runtime.errors import ConfigProblem

GROUP_BY_FOLDER = "folder"


def assign_groups(
    images: Mapping[str, Sequence[Path]], folders: Mapping[str, Path], rule: str | None, base: Path
) -> dict[Path, str]:
    """Assigns each image to its group. An image that the rule does not cover is a group by itself.

    Args:
        images: files by label
        folders: folder of each label; image names are relative to it
        rule: `folder`, the name of a CSV file (columns file and group), or a regular expression on the image name,
            whose first group (or whole match) names the group
        base: folder to which the CSV file is relative

    Raises:
        ConfigProblem: the rule is not a regular expression, or the CSV file is missing, malformed or names no image.
    """
    names = {path: path.relative_to(folders[label]) for label, paths in images.items() for path in paths}
    single = {path: f"{label}/{names[path].as_posix()}" for label, paths in images.items() for path in paths}
    if rule is None:
        return single
    if rule.lower().endswith(".csv"):
        return single | _groups_from_list(base / rule, names)
    if rule == GROUP_BY_FOLDER:
        return {path: name.parent.as_posix() if name.parent != Path() else single[path] for path, name in names.items()}
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise ConfigProblem(f"group: {error}", hint="correct the regular expression") from None
    matches = {path: pattern.search(name.as_posix()) for path, name in names.items()}
    named = {path: match.group(1) if pattern.groups else match.group() for path, match in matches.items() if match}
    return single | {path: name for path, name in named.items() if name is not None}


def _groups_from_list(path: Path, names: Mapping[Path, Path]) -> dict[Path, str]:
    rows = read_csv_rows(path, ("file", "group"))
    by_path = {absolute_path(row["file"], path.parent): row["group"] for row in rows if row["group"]}
    by_relative_name = {Path(row["file"]).as_posix(): row["group"] for row in rows if row["group"]}
    groups = {}
    for image, name in names.items():
        if group := by_path.get(absolute_path(image, Path())) or by_relative_name.get(name.as_posix()):
            groups[image] = group
    if not groups:
        hint = "file names are relative to the CSV file or to the folder of the images"
        raise ConfigProblem(f"{path}: the file names no image", hint=hint)
    return groups


def read_csv_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Reads the rows of a CSV file with a header line.

    Raises:
        ConfigProblem: the file cannot be read, or a column is missing.
    """
    hint = f"a CSV file whose first line is {','.join(columns)}"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or [])]
            rows = [{key: value or "" for key, value in row.items() if key is not None} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigProblem(f"{path}: cannot be read: {error}", hint=hint) from None
    if missing:
        raise ConfigProblem(f"{path}: no column {', '.join(missing)}", hint=hint)
    return rows


def absolute_path(file: str | Path, base: Path) -> Path:
    """Returns the absolute path of a file. Links in its folder are resolved, but the file itself may stay a link."""
    path = base / file
    return path.parent.resolve() / path.name


def merge_groups(groups: Mapping[Path, str], pairs: Iterable[tuple[Path, Path]]) -> dict[Path, str]:
    """Merges groups that a pair of images connects (union-find). A merged group gets the first name in sort order."""
    parent = {name: name for name in groups.values()}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for image, other in pairs:
        if image in groups and other in groups:
            first, second = sorted((root(groups[image]), root(groups[other])))
            parent[second] = first
    return {path: root(name) for path, name in groups.items()}


def too_few_groups(made: Iterable[str], merged: Collection[str], parts: Collection[str]) -> ConfigProblem:
    """Returns the problem that there are fewer groups than parts of a split.

    Args:
        made: groups of the images by the rule
        merged: what near copies leave of them
        parts: names of the parts
    """
    count, needed = len(set(made)), f"each of {', '.join(parts)} needs a group"
    if count < len(parts):
        message = f"data.group makes {count} groups, at least {len(parts)} are needed"
        return ConfigProblem(message, hint=f"correct data.group: {needed}")
    message = f"near copies join the {count} groups of good images to {len(merged)}, at least {len(parts)} are needed"
    hint = f"{needed}; vedette audit names the near copies: keep one of each, or add images of other parts"
    return ConfigProblem(message, hint=hint)
