"""`vedette studio`: the workshop's page for a folder of images."""

from __future__ import annotations

from pathlib import Path

import click

from vedette.runtime.distribution import install_command
from vedette.runtime.errors import MachineProblem


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Of 127.0.0.1; 0: any.")
@click.option("--key", type=click.Path(path_type=Path), help="Signs the bundles. [default: as vedette build]")
def studio(folder: Path, port: int, key: Path | None) -> None:
    """Work on the images in DIR in a browser: audit, marks, goal, build, report, releases.

    DIR is created if it is missing. Only this machine reaches the page. Stop it with Ctrl-C, which also ends a
    build that runs.
    """
    try:
        from ..studio.studio_server import serve_studio
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("vedette"):
            raise
        raise MachineProblem(f"the page needs {error.name}, which is missing", install_command("studio")) from None
    if key is not None:
        from vedette.runtime.bundle import keys

        keys.read_private_key(key)
    serve_studio(folder, port, key, lambda url: click.echo(f"open {url}"))
