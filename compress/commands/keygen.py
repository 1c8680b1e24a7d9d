"""`vedette keygen`"""

from __future__ import annotations

from pathlib import Path

import click

from vedette.runtime.bundle import keys


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", default="vedette", show_default=True, help="Name of the pair.")
def keygen(folder: Path, name: str) -> None:
    """Make a key pair in DIR: NAME.key signs bundles, NAME.pub goes to the devices that shall trust them."""
    private, public = keys.generate_key_pair(folder, name)
    identifier = keys.key_id(keys.read_public_key(public))
    click.echo(f"{private}  signs; keep it secret")
    click.echo(f"{public}  verifies (key {identifier}); put it in /etc/vedette/keys on each device")
