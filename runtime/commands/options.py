"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

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
