"""What several commands share: options, arguments, and the output of `--json`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

_Command = TypeVar("_Command", bound=Callable[..., Any])

keys = click.option(
    "--keys",
    type=click.Path(path_type=Path),
    help="Folder with the trusted public keys (*.pub). [default: /etc/vedette/keys and ~/.config/vedette/keys]",
)
config = click.option(
    "--config",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("/etc/vedette"),
    show_default=True,
    help="Folder with vedette.toml and cameras/CAMERA.toml.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
bundle = click.argument("bundle", type=click.Path(path_type=Path))


def combine(*decorators: Callable[[Any], Any]) -> Callable[[_Command], _Command]:
    """One decorator for several options and arguments, which the help lists in this order."""

    def decorate(command: _Command) -> _Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


view = combine(
    click.option("--camera", help="Look at the images as this camera does: its region of interest, its privacy zones."),
    config,
)


def print_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    click.echo(render_json(value))


def render_json(value: Any) -> str:
    """A value as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
