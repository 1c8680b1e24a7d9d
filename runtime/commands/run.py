"""`vedette run`"""

from __future__ import annotations

from pathlib import Path

import click

from .. import daemon
from . import options


@click.command()
@click.argument("camera")
@options.config
def run(camera: str, folder: Path) -> None:
    """Watch CAMERA and send its events, until it is told to stop or a recording ends.

    Exit codes: 2 the configuration is wrong, 3 the bundle is, 4 this machine lacks something.
    """
    daemon.run(camera, folder)
