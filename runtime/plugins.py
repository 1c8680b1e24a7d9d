"""Plug points: a part is chosen by its name in a literal table and imported only then.

A table maps a name to "module:attribute", relative to the package that holds the table. An unknown name is an error
that lists the known ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

import msgspec

from .errors import ConfigProblem

_T = TypeVar("_T", bound=msgspec.Struct)


def choose(package: str, table: Mapping[str, str], name: str, what: str) -> Any:
    """The part `name` of `table`.

    Args:
        package: the package that `table` belongs to, as in `vedette.runtime.rules`
        table: name -> "module:attribute"
        name: what a person wrote
        what: where they wrote it, for the error

    Raises:
        ConfigProblem: the table has no such name.
    """
    if not isinstance(name, str) or name not in table:
        raise ConfigProblem(f"{what}: unknown {name!r}", hint=f"known are {', '.join(sorted(table))}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module, package), attribute)


def split_url(url: str, what: str) -> SplitResult:
    """The parts of a URL that a person wrote.

    Raises:
        ConfigProblem: it is none.
    """
    try:
        return urlsplit(url)
    except ValueError as error:
        raise ConfigProblem(f"{what} {redacted(url)!r}: {error}", hint="docs/config.md shows examples") from None


def redacted(url: str) -> str:
    """The same for people: without the password in it."""
    return re.sub(r"//([^/@:]*):[^/@]*@", r"//\1:…@", url)


def options(text: str, kind: type[_T], what: str) -> _T:
    """`a=1&b=2`, as a person wrote it into a URL, as a `kind`.

    Raises:
        ConfigProblem: one of them is unknown or not what it should be.
    """
    try:
        return msgspec.convert(dict(parse_qsl(text, keep_blank_values=True)), kind, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(f"{field.encode_name}=" for field in msgspec.structs.fields(kind))
        raise ConfigProblem(f"{what}: {error}", hint=f"it takes {known}") from None
