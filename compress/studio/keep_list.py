"""The keep list of the folder, as `[data] list` reads it: without it every image is kept; with it, those it names.

Rows that a person or `vedette audit --fix` wrote stay as they are, with their groups.
"""

from __future__ import annotations

import csv
import io
import threading
from pathlib import Path

from vedette.runtime.atomic_file import write_atomically

from ..data.groups import read_csv_rows
from ..data.kept_images_csv import KEEP_LIST_COLUMNS
from .workspace import Workspace

_lock = threading.Lock()


def read_kept(workspace: Workspace) -> set[str] | None:
    """Names of the kept images; None: there is no list, so all are.

    Raises:
        ConfigProblem: the list cannot be read.
    """
    rows = _read_rows(workspace)
    return None if rows is None else set(rows)


def set_kept(workspace: Workspace, image: Path, keep: bool) -> None:
    """Keeps or drops an image. The first drop writes the list.

    Raises:
        ConfigProblem: the list cannot be read.
        MachineProblem: it cannot be written.
    """
    with _lock:
        rows = _read_rows(workspace)
        if rows is None:
            if keep:
                return
            rows = {
                workspace.name_of(path): (label, "")
                for label, paths in workspace.all_images().items()
                for path in paths
            }
        name = workspace.name_of(image)
        if keep:
            rows.setdefault(name, (name.partition("/")[0], ""))
        else:
            rows.pop(name, None)
        _write_rows(workspace, rows)


def keep_new(workspace: Workspace, image: Path) -> None:
    """Adds an image that came just now, if there is a list."""
    if workspace.keep_file.exists():
        set_kept(workspace, image, keep=True)


def _read_rows(workspace: Workspace) -> dict[str, tuple[str, str]] | None:
    if not workspace.keep_file.exists():
        return None
    return {
        Path(row["file"]).as_posix(): (row.get("label") or "", row.get("group") or "")
        for row in read_csv_rows(workspace.keep_file, ("file",))
    }


def _write_rows(workspace: Workspace, rows: dict[str, tuple[str, str]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(KEEP_LIST_COLUMNS)
    table.writerows((name, *rest) for name, rest in sorted(rows.items()))
    write_atomically(workspace.keep_file, text.getvalue().encode(), "make the folder writable")
