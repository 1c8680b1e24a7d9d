"""Files below a folder, through links to folders too, so that every part of the product finds the same ones.

A folder that can be reached in two ways is searched once: by its own path, if that lies below the folder, else by the
first link to it. So no image counts twice, and links in a circle end.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path


def find_files(folder: Path) -> list[Path]:
    """All files below `folder`, sorted by path; links to files and to folders are followed."""
    searched = {_identity(folder)}
    pending, found = [folder], list[Path]()
    links: list[Path] = []
    while pending or links:
        here = pending.pop() if pending else links.pop(0)
        if here != folder and not _is_new(here, searched):
            continue
        for entry in _entries(here):
            path = Path(entry.path)
            with contextlib.suppress(OSError):  # a link to itself leads nowhere
                if entry.is_dir():
                    (links if entry.is_symlink() else pending).append(path)
                elif entry.is_file():
                    found.append(path)
        links.sort()
    return sorted(found)


def describe_skipped(skipped: Iterable[Path]) -> str:
    """Number of files by the end of their names: `12 .heic, 1 .jfif`, the most frequent first."""
    counts = Counter(path.suffix.lower() or "without an ending" for path in skipped)
    return ", ".join(
        f"{count} {suffix}" for suffix, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:  # as if it were empty: the caller says what is missing
        return


def _is_new(folder: Path, searched: set[tuple[int, int]]) -> bool:
    try:
        identity = _identity(folder)
    except OSError:  # deleted since it was listed
        return False
    is_new = identity not in searched
    searched.add(identity)
    return is_new


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
