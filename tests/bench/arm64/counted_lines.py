"""What the plugin counted between the borders of a script, by the titles that the script wrote to the same stderr."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable


def read_counts(lines: Iterable[str], word: str) -> dict[str, list[list[int]]]:
    """The counts after each line `word TITLE`, by title; one list for each time that the title occurs.

    The first count of a list ends with the first border after the title. Lines of another kind go to stderr. Exits if
    nothing was counted.
    """
    counted: dict[str, list[list[int]]] = defaultdict(list)
    title = ""
    for line in lines:
        if line.startswith("counted ") and title:
            counted[title][-1].append(int(line.split()[1]))
        elif line.startswith(f"{word} "):
            title = line.removeprefix(word).strip()
            counted[title].append([])
        else:
            sys.stderr.write(line)
    if not counted:
        sys.exit("nothing was counted")
    return counted
