"""What a site for browsers gives to the parts that every such site shares: the guard, signing in, and rendering.

The device's page is one such site, the workshop's page another.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Protocol

from .credentials import PageCredentials
from .listen_address import KnownHosts
from .sessions import SessionStore, SignInLimit

MAX_BODY = 256 << 10
"""Bytes of a request's body, unless a site allows more for an address."""
HERE = Path(__file__).parent


class BrowserSite(Protocol):
    """The parts of a site that browsers sign in to."""

    @property
    def device(self) -> str:
        """The name that stands in the bar and the title."""

    @property
    def credentials(self) -> PageCredentials:
        """What opens the site."""

    @property
    def hosts(self) -> KnownHosts:
        """Names under which browsers reach it."""

    @property
    def is_secure(self) -> bool:
        """True if browsers reach it by TLS."""

    @property
    def sessions(self) -> SessionStore:
        """The signed-in browsers."""

    @property
    def limit(self) -> SignInLimit:
        """The limit of attempts to sign in."""

    @property
    def sign_in_lock(self) -> asyncio.Lock:
        """Passwords are checked one after the other."""

    @property
    def cookie_name(self) -> str:
        """Of the session's cookie."""

    @property
    def template_folders(self) -> tuple[Path, ...]:
        """Where templates are looked for, in this order."""

    @property
    def locale_folders(self) -> tuple[Path, ...]:
        """Where the catalogues are; a later one adds to an earlier one."""

    def template_values(self) -> dict[str, Any]:
        """What every template of the site gets."""

    def body_limit(self, path: str) -> int:
        """Most bytes of a request's body to an address."""
