"""`vedette run`: the daemon of one camera."""

from __future__ import annotations

from pathlib import Path

import click

from .. import daemon
from ..monitoring.start_checks import start_camera
from . import options


@click.command()
@click.argument("camera")
@options.config
def run(camera: str, folder: Path) -> None:
    """Run the daemon of CAMERA: infer on its frames and send events, until a signal or the end of a recording.

    Exit code 2: wrong configuration; 3: invalid bundle; 4: this machine lacks a resource.
    """
    with start_camera(folder, camera):
        daemon.run(camera, folder)
