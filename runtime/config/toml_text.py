"""The statements of a TOML file's text, so that one of them can be written anew and all others stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

_STRINGS_AND_COMMENTS = re.compile(
    r'"""(?:\\[\s\S]|[^\\])*?"{3,5}|' r"'''[\s\S]*?'{3,5}|" r'"(?:\\.|[^"\\\n])*"|' r"'[^'\n]*'|#[^\n]*"
)
_INSIDE = "\0"
"""Ends a line that ends inside a string."""
KEY_PATTERN = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)""")
HEADER_PATTERN = re.compile(r"""\s*(\[\[?)\s*["']?([A-Za-z0-9_-]+)["']?(?:\s*\.\s*["']?([A-Za-z0-9_-]+))?""")


class Statement(msgspec.Struct):
    """A header or a key with its value, in the text of a TOML file."""

    above: list[str]
    """Comments and empty lines before it."""
    lines: list[str]


def split_statements(text: str) -> tuple[list[Statement], list[str]]:
    """The statements of a file, and the lines after the last one."""
    statements: list[Statement] = []
    above: list[str] = []
    depth = 0
    text = text if text.endswith("\n") else f"{text}\n"
    codes = _STRINGS_AND_COMMENTS.sub(_blank, text).split("\n")
    for line, code in zip(text[:-1].split("\n"), codes, strict=False):
        if depth > 0:
            statements[-1].lines.append(f"{line}\n")
        elif not code.strip():
            above.append(f"{line}\n")
            continue
        else:
            statements.append(Statement(above, [f"{line}\n"]))
            above = []
        depth += sum(code.count(each) for each in "[{") - sum(code.count(each) for each in "]}")
        depth += code.endswith(_INSIDE) - code.startswith(_INSIDE)
    return statements, above


def _blank(found: re.Match[str]) -> str:
    """What stands for a string or a comment, with as many lines."""
    token = found[0]
    return "" if token.startswith("#") else f'"{token.count(chr(10)) * f"{_INSIDE}{chr(10)}{_INSIDE}"}"'


def rewrite_statement(line: str, replaced: list[str]) -> Iterator[str]:
    """New lines in place of a statement; a comment at its end stays there, those inside stand above."""
    comments = [
        found[0].rstrip() for found in _STRINGS_AND_COMMENTS.finditer("".join(replaced)) if found[0].startswith("#")
    ]
    is_at_end = bool(comments) and replaced[-1].rstrip().endswith(comments[-1]) and line.count("\n") == 1
    yield from (f"{comment}\n" for comment in (comments[:-1] if is_at_end else comments))
    yield f"{line.rstrip()}  {comments[-1]}\n" if is_at_end else line
