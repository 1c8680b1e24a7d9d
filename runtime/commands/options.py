"""What several commands share: options, arguments, and the output of `--json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

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


def print_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
