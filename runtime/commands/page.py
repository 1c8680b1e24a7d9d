"""`vedette page`: shows this device in a browser."""

from __future__ import annotations

import contextlib
import grp
import os
from pathlib import Path

import click

from ..atomic_file import write_atomically
from ..config.credentials import resolve_credential_path
from ..distribution import install_command
from ..errors import ConfigProblem, MachineProblem
from ..socket_access import GROUP
from . import options

_HINT = "run the command as root (sudo)"


@click.group(invoke_without_command=True)
@options.config
@click.pass_context
def page(context: click.Context, folder: Path) -> None:
    """Show this device in a browser: live picture, events and health.

    The page is off unless vedette.toml has [page] listen. Stop it with Ctrl-C.
    """
    context.obj = folder
    if context.invoked_subcommand is not None:
        return
    try:
        from ..page.page_server import load_page_settings, serve_page
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("vedette"):
            raise
        raise MachineProblem(f"the page needs {error.name}, which is missing", install_command("page")) from None
    if not load_page_settings(folder).listen:
        click.echo(f'the page is off: {folder / "vedette.toml"} has no [page] listen = "127.0.0.1:8080"')
        return
    serve_page(folder, lambda url: click.echo(f"open {url}"))


@page.command()
@click.pass_obj
def password(folder: Path) -> None:
    """Set the password of the page, which is asked for twice."""
    from ..page.page_server import load_page_settings
    from ..page.password_hash import hash_password

    settings = load_page_settings(folder)
    if not settings.password_file:
        hint = 'add password_file = "secrets/page-password" to [page] in vedette.toml'
        raise ConfigProblem("[page] password_file is not set, so nothing says where the password goes", hint=hint)
    path = Path(resolve_credential_path(settings.password_file, folder))
    content = hash_password(click.prompt("New password", hide_input=True, confirmation_prompt=True)).encode()
    try:
        path.parent.mkdir(mode=0o750, exist_ok=True)
    except OSError as error:
        raise MachineProblem(f"{path.parent}: {error.strerror}", _HINT) from None
    previous = os.umask(0o137)
    try:
        write_atomically(path, f"{content}\n".encode(), _HINT)
    finally:
        os.umask(previous)
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):  # there is no such group
            os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)  # the service reads it, nobody else does
    click.echo(f"{path}: written; restart the page: systemctl restart vedette-page")
