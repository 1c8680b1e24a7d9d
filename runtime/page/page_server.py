"""The page's process: checks its settings, binds its address, and serves until a signal comes."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from ..config.configuration import device_folders, load_device
from ..config.credentials import require_file, resolve_credential_path
from ..config.page_table import PageSettings, PageTable
from ..config.time_zone import load_timezone
from ..config.toml_file import read_toml
from ..errors import ConfigProblem, MachineProblem
from .bundle_upload import remove_leftover
from .credentials import load_credentials
from .http_protocol import PageProtocol
from .listen_address import KnownHosts, ListenAddress, parse_listen_address
from .live_pictures import LivePictures
from .page_application import make_application
from .page_context import PageContext

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
_BACKLOG = 32


class _AnyTables(PageTable, frozen=True, forbid_unknown_fields=False):
    pass


def load_page_settings(folder: Path) -> PageSettings:
    """`[page]` of vedette.toml.

    Raises:
        ConfigProblem: the file is missing or wrong, in whatever table.
    """
    load_device(folder)
    return read_toml(folder / "vedette.toml", _AnyTables, docs="docs/page.md").page


def serve_page(folder: Path, announce: Callable[[str], None], opened: socket.socket | None = None) -> None:
    """Serves the page until the process gets a signal.

    Args:
        folder: with vedette.toml
        announce: told the address to open
        opened: a bound socket to use instead of the configured address, of which the settings' rules still hold

    Raises:
        ConfigProblem: the settings are wrong, or not safe.
        MachineProblem: the address cannot be used.
    """
    settings = load_page_settings(folder)
    address = parse_listen_address(settings)
    credentials = load_credentials(settings, folder)
    files = [resolve_credential_path(each, folder) for each in (settings.cert_file, settings.key_file)]
    if settings.cert_file:
        _check_certificate(*files)
    device = load_device(folder)
    remove_leftover(device_folders(folder, device)[0])
    _set_timezone(device.timezone)
    pictures = LivePictures()
    is_secure = bool(settings.cert_file)
    hosts = KnownHosts.of_device(device.name, settings)
    context = PageContext(folder, device.name, settings, credentials, hosts, is_secure, pictures)
    listener = opened or _bind(address)
    listener.listen(_BACKLOG)
    shown = device.name if address.is_any else address.host
    url = ListenAddress(shown, listener.getsockname()[1]).url("https" if is_secure else "http")
    announce(f"{url}/sign-in#{credentials.token}" if credentials.is_for_this_start else url)
    config = configure_server(
        make_application(context),
        http=PageProtocol,
        backlog=_BACKLOG,
        timeout_keep_alive=15,
        ssl_certfile=files[0] or None,
        ssl_keyfile=files[1] or None,
    )
    with contextlib.closing(pictures), contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def configure_server(application: ASGIApp, **more: Any) -> uvicorn.Config:
    """What every site for browsers asks of uvicorn: no log of addresses, no trust in headers, few connections.

    Args:
        application: the site
        more: options of `uvicorn.Config` that this site has besides
    """
    return uvicorn.Config(
        application,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=2,
        **more,
    )


def _set_timezone(name: str) -> None:
    """Shows all times as the device's rules count them, whatever the machine's time zone is."""
    if load_timezone(name) is not None:
        os.environ["TZ"] = name
        time.tzset()


def _check_certificate(certificate: str, key: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(require_file(certificate), require_file(key), "")
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "name a certificate and its key without a passphrase, in PEM, which this user may read"
        raise ConfigProblem(f"[page] cert_file {certificate}: {reason}", hint=hint) from None


def _bind(address: ListenAddress) -> socket.socket:
    listener = socket.socket(address.family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        hint = "another program may have the port: ss -ltnp; change [page] listen in vedette.toml"
        raise MachineProblem(f"[page] listen {address.host}:{address.port}: {error.strerror}", hint=hint) from None
    return listener
