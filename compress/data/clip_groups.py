"""Which recording a clip was cut from: clips of one are never divided between fitting and testing.

`group` of the goal file is what it is for images (compress/data/groups.py), or a text file as clips from the web come
with: a line that names no clip is a heading, and the clips below it belong to it.

    https://www.youtube.com/watch?v=…
    fi001: 0.13.50 - 0.15.60
    nofi001: 2.34.70 - 2.37.80
    nofi062 - nofi076 : CamNet Dataset       clips by number, from the first to the last, and what they are from
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from vedette.runtime.errors import ConfigProblem

from . import groups

_RANGE = re.compile(r"(?P<name>\D*)(?P<first>\d+)\s*-\s*(?P=name)(?P<last>\d+)\s*:\s*(?P<title>.+)")
_CLIP = re.compile(r"(?P<stem>[^\s:]+)\s*:(?!//)")
_MOST = 100_000  # clips in a range


def of(
    clips: Mapping[str, Sequence[Path]], folders: Mapping[str, Path], rule: str | None, base: Path
) -> dict[Path, str]:
    """The group of each clip; one that the rule does not name is a group of its own.

    Raises:
        ConfigProblem: as `groups.of`, or a text file cannot be read or names no clip.
    """
    if rule is None or not rule.lower().endswith(".txt"):
        return groups.of(clips, folders, rule, base)
    try:
        named = headings((base / rule).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        hint = "paths are relative to the goal file"
        raise ConfigProblem(f"data.group: {base / rule} cannot be read: {error}", hint=hint) from None
    found = {path: named[path.stem] for paths in clips.values() for path in paths if path.stem in named}
    if not found:
        raise ConfigProblem(f"{base / rule}: it names no clip", hint="a heading, and below it NAME: begin - end")
    return groups.of(clips, folders, None, base) | found


def headings(text: str) -> dict[str, str]:
    """Stem of a clip -> the heading that it stands under."""
    found: dict[str, str] = {}
    heading = ""
    for line in map(str.strip, text.splitlines()):
        if match := _RANGE.fullmatch(line):
            first, last = int(match["first"]), int(match["last"])
            width = len(match["first"])
            for number in range(first, min(last, first + _MOST) + 1):
                found.setdefault(f"{match['name']}{number:0{width}}", match["title"])
        elif match := _CLIP.match(line):
            found[match["stem"]] = heading
        elif line:
            heading = line
    return found
