"""Plug points: a part is chosen by its name in a literal table and imported only then.

A table maps a name to "module:attribute", relative to the package that holds the table. An unknown name is an error
that lists the known ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .problem import ConfigProblem


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
        raise ConfigProblem(f"{what} {url!r}: {error}", hint="docs/config.md shows examples") from None
