"""Groups of video clips by source recording, so that a split keeps clips of one recording together.

The key `group` of the goal file works as for images (compress/data/groups.py). It may also name a text file, as data
sets of web clips provide it. In this file, a line without a clip name is a heading. The clips below it form its group.

    https://www.youtube.com/watch?v=…
    fi001: 0.13.50 - 0.15.60
    nofi001: 2.34.70 - 2.37.80
    nofi062 - nofi076 : CamNet Dataset       a range of clip numbers, and their source
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from vedette.runtime.errors import ConfigProblem

from . import groups

_RANGE = re.compile(r"(?P<name>\D*)(?P<first>\d+)\s*-\s*(?P=name)(?P<last>\d+)\s*:\s*(?P<title>.+)")
_CLIP = re.compile(r"(?P<stem>[^\s:]+)\s*:(?!//)")
_MAX_RANGE = 100_000  # clips in a range, at most


def group_clips(
    clips: Mapping[str, Sequence[Path]], folders: Mapping[str, Path], rule: str | None, base: Path
) -> dict[Path, str]:
    """Assigns each clip to its group. A clip that the rule does not name is a group by itself.

    Args:
        clips: files by label
        folders: folder of each label
        rule: a text file in the format of this module, or a rule of `groups.assign_groups`
        base: folder of the goal file, to which the text file is relative

    Raises:
        ConfigProblem: as `groups.assign_groups`, or the text file cannot be read or names no clip.
    """
    if rule is None or not rule.lower().endswith(".txt"):
        return groups.assign_groups(clips, folders, rule, base)
    try:
        group_by_stem = parse_clip_groups((base / rule).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        hint = "paths are relative to the goal file"
        raise ConfigProblem(f"data.group: {base / rule} cannot be read: {error}", hint=hint) from None
    assigned = {
        path: group_by_stem[path.stem] for paths in clips.values() for path in paths if path.stem in group_by_stem
    }
    if not assigned:
        raise ConfigProblem(
            f"{base / rule}: the file names no clip", hint="write a heading, and below it NAME: begin - end"
        )
    return groups.assign_groups(clips, folders, None, base) | assigned


def parse_clip_groups(text: str) -> dict[str, str]:
    """Maps the file stem of each clip to its heading."""
    groups_by_stem: dict[str, str] = {}
    heading = ""
    for line in map(str.strip, text.splitlines()):
        if match := _RANGE.fullmatch(line):
            first, last = int(match["first"]), int(match["last"])
            width = len(match["first"])
            for number in range(first, min(last, first + _MAX_RANGE) + 1):
                groups_by_stem.setdefault(f"{match['name']}{number:0{width}}", match["title"])
        elif match := _CLIP.match(line):
            groups_by_stem[match["stem"]] = heading
        elif line:
            heading = line
    return groups_by_stem
