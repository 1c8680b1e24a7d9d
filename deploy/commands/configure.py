"""`vedette configure`: replaces the file of a camera, and goes back by itself if the daemon does not run with it."""

from __future__ import annotations

import time
from pathlib import Path

import click

from vedette.runtime.commands import options
from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.installation.configuration.change_requests import is_applied_by_service

from ..setup.configuration_change import change_camera
from ..setup.request_applier import PAUSE_SECONDS, RequestApplier


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--camera", help="The camera whose file it becomes.")
@click.option(
    "--watch",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long its daemon must run with it.",
)
@click.option("--requests", is_flag=True, help="Apply what the page and signed orders of the fleet ask for.")
@options.config
@options.as_json
def configure(file: Path | None, camera: str | None, watch: float, requests: bool, folder: Path, as_json: bool) -> None:
    """Make FILE the configuration of a camera: check it, keep the present one, restart the camera, watch it.

    If the daemon then does not run, has no frames or loses the broker, the file from before is put back.
    """
    if requests and (file or camera):
        raise click.UsageError("--requests takes neither FILE nor --camera")
    if requests:
        _apply_requests(folder, watch, as_json)
    elif file is None or camera is None:
        raise click.UsageError("name FILE and --camera, or --requests")
    else:
        _configure(file, camera, watch, folder, as_json)


def _apply_requests(folder: Path, watch: float, as_json: bool) -> None:
    try:
        results = RequestApplier(folder, watch).apply_all()
    except Problem:
        if is_applied_by_service(folder):
            time.sleep(PAUSE_SECONDS)  # the requests are still there, so the path unit starts this program again
        raise
    if as_json:
        options.print_json(results)
    for result in () if as_json else results:
        click.echo(f"{result.camera}: {result.outcome}{f': {result.reason}' if result.reason else ''}")


def _configure(file: Path, camera: str, watch: float, folder: Path, as_json: bool) -> None:
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
