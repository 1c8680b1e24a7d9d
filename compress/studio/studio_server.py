"""The process of the workshop's page: one folder, a loopback address, a link that signs in once per start."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from vedette.runtime.errors import MachineProblem
from vedette.runtime.page.credentials import PageCredentials
from vedette.runtime.page.page_server import configure_server

from .studio_application import make_studio
from .studio_context import StudioContext
from .workspace import open_workspace

HOST = "127.0.0.1"
"""Other machines never reach it: it starts programs and shows pictures."""


def serve_studio(folder: Path, port: int, key: Path | None, announce: Callable[[str], None]) -> None:
    """Serves the page until the process gets a signal; ends an audit or a build that then runs.

    Args:
        folder: of images, which is created if it is missing
        port: 0: any free one
        key: signs the bundles; None: this user's own key
        announce: told the link to open

    Raises:
        ConfigProblem: the folder cannot be used.
        MachineProblem: the port cannot be used.
    """
    token = secrets.token_urlsafe(32)
    credentials = PageCredentials(None, token, is_for_this_start=True)
    context = StudioContext(open_workspace(folder), credentials, key and key.resolve())
    try:
        listener = socket.create_server((HOST, port))
    except OSError as error:
        hint = "another program may have the port: choose another with --port, or 0 for any"
        raise MachineProblem(f"{HOST}:{port}: {error.strerror}", hint=hint) from None
    announce(f"http://{HOST}:{listener.getsockname()[1]}/sign-in#{token}")
    config = configure_server(make_studio(context), http="h11")
    signal.signal(signal.SIGHUP, _end)  # the terminal was closed
    signal.signal(signal.SIGTERM, _interrupt)  # uvicorn raises the signal again, which else ends this process at once
    try:
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        context.slot.stop()


def _end(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
