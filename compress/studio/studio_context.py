"""What all views of the workshop's page share."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from vedette.runtime.page.browser_site import HERE as PAGE
from vedette.runtime.page.browser_site import MAX_BODY
from vedette.runtime.page.credentials import PageCredentials
from vedette.runtime.page.listen_address import KnownHosts
from vedette.runtime.page.sessions import SessionStore, SignInLimit
from vedette.runtime.page.translation import PAGE_LOCALE

from .image_upload import MAX_BYTES
from .workshop_process import ProcessSlot
from .workspace import Workspace

STUDIO = Path(__file__).parent


class StudioContext(msgspec.Struct, frozen=True, eq=False):
    """The parts of one workshop's page."""

    workspace: Workspace
    credentials: PageCredentials
    key: Path | None = None
    """Signs the bundles; None: this user's own key."""
    hosts: KnownHosts = msgspec.field(default_factory=lambda: KnownHosts(()))
    is_secure: bool = False
    sessions: SessionStore = msgspec.field(default_factory=SessionStore)
    limit: SignInLimit = msgspec.field(default_factory=SignInLimit)
    sign_in_lock: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    slot: ProcessSlot = msgspec.field(default_factory=ProcessSlot)

    @property
    def device(self) -> str:
        """The name of the folder."""
        return self.workspace.folder.name

    @property
    def cookie_name(self) -> str:
        """Cookies know no ports, so a page of a device on this machine needs another name."""
        return "vedette-studio"

    @property
    def template_folders(self) -> tuple[Path, ...]:
        """Its own first."""
        return (STUDIO / "templates", PAGE / "templates")

    @property
    def locale_folders(self) -> tuple[Path, ...]:
        """Its own last, so that it wins."""
        return (PAGE_LOCALE, STUDIO / "locale")

    def template_values(self) -> dict[str, Any]:
        """What every template gets."""
        return {"running": self.slot.running.kind if self.slot.running is not None else ""}

    def body_limit(self, path: str) -> int:
        """Images and masks are larger than anything else that a browser sends."""
        return MAX_BYTES if path.startswith(("/images/", "/mark")) else MAX_BODY


def studio_of(request: Request) -> StudioContext:
    """The parts of the page that a request goes to."""
    context: StudioContext = request.app.state.context
    return context


def image_of(request: Request) -> Path:
    """The image that the query of a request names.

    Raises:
        HTTPException: there is no such image.
    """
    path = studio_of(request).workspace.find_image(request.query_params.get("name", ""))
    if path is None:
        raise HTTPException(404)
    return path
