"""Plugin tables: a configuration names an implementation, which is imported only then.

A table maps a name to "module:attribute", relative to the package that holds the table. An unknown name is an error
that lists the known names.
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


def load_plugin(package: str, table: Mapping[str, str], name: str, setting: str) -> Any:
    """Imports the implementation that `table` lists under `name`.

    Args:
        package: the package that `table` belongs to, for example `vedette.runtime.rules`
        table: name -> "module:attribute"
        name: the configured name
        setting: the key in the configuration, for the error message

    Raises:
        ConfigProblem: the table has no such name.
    """
    if not isinstance(name, str) or name not in table:
        raise ConfigProblem(f"{setting}: unknown {name!r}", hint=f"known values: {', '.join(sorted(table))}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module, package), attribute)


def split_url(url: str, setting: str) -> SplitResult:
    """Splits the URL of a configuration key.

    Raises:
        ConfigProblem: it is not a valid URL.
    """
    try:
        return urlsplit(url)
    except ValueError as error:
        raise ConfigProblem(f"{setting} {redact_url(url)!r}: {error}", hint="docs/config.md shows examples") from None


def redact_url(url: str) -> str:
    """Replaces the password in a URL, for log lines and error messages."""
    return re.sub(r"//([^/@:]*):[^/@]*@", r"//\1:…@", url)


def parse_options(text: str, kind: type[_T], setting: str) -> _T:
    """Converts the query string of a URL, such as `a=1&b=2`, to the struct `kind`.

    Raises:
        ConfigProblem: an option is unknown or has a wrong value.
    """
    try:
        return msgspec.convert(dict(parse_qsl(text, keep_blank_values=True)), kind, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(f"{field.encode_name}=" for field in msgspec.structs.fields(kind))
        raise ConfigProblem(f"{setting}: {error}", hint=f"known options: {known}") from None
