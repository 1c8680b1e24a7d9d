"""`vedette masks`: the view for which the privacy masks of a camera hold."""

from __future__ import annotations

from pathlib import Path

import click

from ..camera.stored_view import forget_views
from ..config.configuration import load_config
from ..errors import ConfigProblem, MachineProblem
from ..installation.installer import as_owner
from . import options


@click.group()
def masks() -> None:
    """Confirm the view for which the privacy masks of a camera hold."""


@masks.command()
@click.argument("camera")
@options.config
def confirm(camera: str, folder: Path) -> None:
    """Take what CAMERA shows now as the view for which its privacy masks hold.

    The masks stay where they are in the picture: first make sure that they cover what they should. The daemon stores
    the new view within seconds, and shows pictures again.
    """
    settings = load_config(folder, camera)
    if not settings.privacy.zones:
        hint = "draw them on the page, or write [privacy] zones; docs/privacy.md shows them"
        raise ConfigProblem(f"{settings.camera_file}: the camera has no privacy masks", hint=hint)
    try:
        with as_owner(settings.state):
            found = forget_views(settings.state_folder)
    except OSError as error:
        reason = f"{settings.state_folder}: {error.strerror}"
        raise MachineProblem(reason, hint="run the command as root (sudo)") from None
    if not found:
        click.echo(f"{camera}: no view is stored; its daemon takes the next pictures")
        return
    click.echo(f"{camera}: the next pictures become the view of its privacy masks; vedette status says if one is found")
