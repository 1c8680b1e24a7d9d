"""`vedette configure`: replaces the file of a camera, and goes back by itself if the daemon does not run with it."""

from __future__ import annotations

from pathlib import Path

import click

from vedette.runtime.commands import options
from vedette.runtime.errors import ConfigProblem

from ..setup.configuration_change import change_camera


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--camera", required=True, help="The camera whose file it becomes.")
@click.option(
    "--watch",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long its daemon must run with it.",
)
@options.config
@options.as_json
def configure(file: Path, camera: str, watch: float, folder: Path, as_json: bool) -> None:
    """Make FILE the configuration of a camera: check it, keep the present one, restart the camera, watch it.

    If the daemon then does not run, has no frames or loses the broker, the file from before is put back.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigProblem(
            f"{file}: {error.strerror}", hint="name a camera's file; docs/config.md shows one"
        ) from None
    change = change_camera(folder, camera, content, watch)
    if as_json:
        options.print_json(change)
    elif change.state == "healthy":
        click.echo(f"{camera}: runs with {file.name}; the file from before is {camera}.toml.last")
    else:
        click.echo(f"{camera}: {change.state}")
    for command in change.left:
        click.echo(f"left to do: {command}", err=True)
