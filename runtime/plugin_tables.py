"""Plugin tables: a configuration names an implementation, which is imported only then.

A table maps a name to "module:attribute", relative to the package that holds the table. An unknown name is an error
that lists the known names.
"""

from __future__ import annotations

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


# Where the login belongs, by key of the configuration.
_LOGIN_HINTS = {
    "source": "write username and password_file beside source; write @ in a path as %40",
    "broker.url": "write broker.username and broker.password_file",
}
_LOCAL_SCHEMES = ("file:", "v4l2:", "picamera:", "genicam:")  # their paths may contain @


def split_url(url: str, setting: str) -> SplitResult:
    """Splits the URL of a configuration key.

    `source` and `broker.url` may hold no login: people copy configuration files, and a password with `#`, `/`, `?` or
    `@` would be taken for another part of the URL.

    Raises:
        ConfigProblem: it is not a valid URL, or holds a login where none may be.
    """
    hint = _LOGIN_HINTS.get(setting)
    if hint is not None and "@" in url and "//" in url and not url.startswith(_LOCAL_SCHEMES):
        raise ConfigProblem(f"{setting}: a URL here holds no user and password, and no @", hint=hint)
    try:
        parts = urlsplit(url)
    except ValueError:  # its message may quote a part of a password, like the next one
        raise ConfigProblem(f"{setting}: not a URL", hint="docs/config.md shows examples") from None
    try:
        _ = parts.port
    except ValueError:
        raise ConfigProblem(
            f"{setting}: the port is not a number up to 65535", hint="docs/config.md shows examples"
        ) from None
    return parts


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
