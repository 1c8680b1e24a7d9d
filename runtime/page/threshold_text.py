"""A camera's file with another threshold in its first rule `presence`; comments and order of the file stay."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import tomli_w

from ..errors import UNREADABLE, ConfigProblem
from ..installation.configuration.permitted_changes import merge, read_text

PRESENCE = "presence"
_RULE = re.compile(r"^[ \t]*\[\[[ \t]*rules[ \t]*\]\]")
_HEADER = re.compile(r"^[ \t]*\[")
_THRESHOLD = re.compile(r"^([ \t]*threshold[ \t]*=[ \t]*)[^\s#]+")
_USE = re.compile(r"""^([ \t]*)use[ \t]*=""")


def set_threshold(text: str, threshold: float) -> str:
    """The text with `threshold` in the first rule of the kind `presence`; others keep theirs.

    Raises:
        ConfigProblem: it is not TOML, or has no such rule.
    """
    wanted = read_text(text, "the camera's file")
    rules: list[dict[str, Any]] = wanted.get("rules", [])
    first = next((number for number, rule in enumerate(rules) if rule.get("use") == PRESENCE), None)
    if first is None:
        raise ConfigProblem(
            "the camera has no rule presence", 'add [[rules]] use = "presence"; docs/config.md shows one'
        )
    rules[first]["threshold"] = threshold
    edited = _edit_lines(text, first, f"{threshold!r}")
    try:
        if tomllib.loads(edited.removeprefix("\ufeff")) == wanted:
            return edited
    except UNREADABLE:
        pass
    return merge(text, tomli_w.dumps({"rules": rules}))  # rules written in another way


def _edit_lines(text: str, chosen: int, value: str) -> str:
    """The text with the value in the chosen one of the `[[rules]]` tables; `set_threshold` checks the result."""
    lines: list[str] = []
    number, use, has_value = -1, -1, True

    def complete() -> None:
        if not has_value and use >= 0:
            lines.insert(use + 1, f"{_indent(lines[use])}threshold = {value}\n")

    for present in text.splitlines(keepends=True):
        line = present
        if _HEADER.match(line):
            complete()
            number += bool(_RULE.match(line))
            use, has_value = -1, not (_RULE.match(line) and number == chosen)
        elif not has_value and _USE.match(line):
            use = len(lines)
            line = line if line.endswith("\n") else f"{line}\n"
        elif not has_value and _THRESHOLD.match(line):
            line, has_value = _THRESHOLD.sub(rf"\g<1>{value}", line), True
        lines.append(line)
    complete()
    return "".join(lines)


def _indent(line: str) -> str:
    found = _USE.match(line)
    return found[1] if found else ""
