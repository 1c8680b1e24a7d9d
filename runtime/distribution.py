"""The installed distribution: its name on PyPI, which pyproject.toml alone states, and its version.

It is the one that brought the command `vedette`.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata
from importlib.util import find_spec

from .errors import MachineProblem


@cache
def _find_distribution() -> metadata.Distribution:
    for entry in metadata.entry_points(group="console_scripts", name="vedette"):
        if entry.dist is not None:
            return entry.dist
    raise MachineProblem(
        "this Vedette was not installed, so its version is unknown", hint="install its wheel or package"
    )


def installed_version() -> str:
    """The version, as 0.1.0.

    Raises:
        MachineProblem: this is a folder of modules that nothing installed.
    """
    return _find_distribution().version


def install_command(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install '{_find_distribution().metadata['Name']}[{extra}]'"


def require_module(module: str, package: str, extra: str, setting: str) -> None:
    """Checks, without importing it, that a module of an extra is there.

    Args:
        module: its name, such as zxingcpp
        package: that of its package, such as zxing-cpp
        extra: that installs it
        setting: the key of the configuration that needs it

    Raises:
        MachineProblem: it is not installed.
    """
    if find_spec(module) is None:
        raise MachineProblem(f"{setting}: {package} is not installed", hint=install_command(extra))
