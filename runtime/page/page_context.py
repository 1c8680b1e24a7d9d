"""What all views of the page share, and how a view becomes HTML in the language of its reader."""

from __future__ import annotations

import asyncio
import time
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ..config.configuration import Config, camera_names, load_config
from ..config.page_table import PageSettings
from ..errors import UNREADABLE, Problem
from .browser_site import HERE, MAX_BODY, BrowserSite
from .bundle_upload import PIECE_BYTES, BundleUpload
from .credentials import PageCredentials
from .listen_address import KnownHosts
from .live_pictures import LivePictures
from .model_work import ModelWork
from .plain_number import format_plain
from .sessions import SessionStore, SignInLimit
from .translation import PAGE_LOCALE, Translation, languages, load_translation

BY_PAGE = "page"
"""Who judges events and asks for changes; the page has one user."""
LANGUAGE_COOKIE = "language"
LANGUAGE_NAMES = {"en": "English", "ko": "한국어"}
_T = TypeVar("_T")


class PageContext(msgspec.Struct, frozen=True, eq=False):
    """The parts of one page."""

    folder: Path
    """With vedette.toml."""
    device: str
    """Name of the device."""
    settings: PageSettings
    credentials: PageCredentials
    hosts: KnownHosts
    is_secure: bool
    """True if browsers reach it by TLS."""
    pictures: LivePictures
    sessions: SessionStore = msgspec.field(default_factory=SessionStore)
    limit: SignInLimit = msgspec.field(default_factory=SignInLimit)
    sign_in_lock: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    """Passwords are checked one after the other."""
    upload: BundleUpload = msgspec.field(default_factory=BundleUpload)
    work: ModelWork = msgspec.field(default_factory=ModelWork)

    @property
    def cookie_name(self) -> str:
        """With TLS, browsers take a cookie of this prefix from this host alone."""
        return "__Host-vedette" if self.is_secure else "vedette"

    @property
    def template_folders(self) -> tuple[Path, ...]:
        """Where the templates are."""
        return (HERE / "templates",)

    @property
    def locale_folders(self) -> tuple[Path, ...]:
        """Where the catalogues are."""
        return (PAGE_LOCALE,)

    def template_values(self) -> dict[str, Any]:
        """What every template gets."""
        return {"cameras": self.cameras()}

    def body_limit(self, path: str) -> int:
        """Most bytes of a request's body; a piece of a bundle may have more than others."""
        return PIECE_BYTES if path.startswith("/health/models/upload/") else MAX_BODY

    def cameras(self) -> list[str]:
        """Names of the cameras that are configured now."""
        return camera_names(self.folder)

    def load_camera(self, name: str) -> Config | None:
        """The configuration of a camera; None: there is no such camera.

        Raises:
            Problem: its file is wrong.
        """
        return load_config(self.folder, name) if name in self.cameras() else None

    def loadable_cameras(self) -> dict[str, Config]:
        """The configurations of all cameras whose file is right."""
        found = {}
        for name in self.cameras():
            try:
                found[name] = load_config(self.folder, name)
            except Problem:
                continue
        return found


async def read_wish(request: Request, kind: type[_T]) -> _T | None:
    """What a view sends as JSON; None: it is nothing of this kind."""
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except UNREADABLE:
        return None


def context_of(request: Request) -> PageContext:
    """The parts of the page that a request goes to."""
    context: PageContext = request.app.state.context
    return context


def site_of(request: Request) -> BrowserSite:
    """What any site for browsers has, of the one that a request goes to."""
    site: BrowserSite = request.app.state.context
    return site


async def find_camera(request: Request) -> Config:
    """The configuration of the camera that a request names.

    Raises:
        HTTPException: there is no such camera (404).
        Problem: its file is wrong.
    """
    config = await asyncio.to_thread(context_of(request).load_camera, request.path_params["camera"])
    if config is None:
        raise HTTPException(404)
    return config


def translation_of(request: Request) -> Translation:
    """The language of a request, which the guard has chosen."""
    translation: Translation = request.scope["state"]["translation"]
    return translation


@cache
def _environment(language: str, folders: tuple[Path, ...], locales: tuple[Path, ...]) -> Environment:
    loader = FileSystemLoader(folders)
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(load_translation(language, locales), newstyle=True)  # type: ignore[attr-defined]
    environment.filters["local"] = _format_local
    environment.filters["plain"] = format_plain
    environment.filters["as_options"] = lambda values: [(value, value) for value in values]
    return environment


def _format_local(seconds: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return time.strftime(form, time.localtime(seconds))


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A view as HTML.

    Args:
        request: answered by it
        template: name of the file in `templates/`
        status: of HTTP
        values: for the template
    """
    site, translation = site_of(request), translation_of(request)
    session = request.scope["state"].get("session")
    environment = _environment(translation.language, site.template_folders, site.locale_folders)
    text = environment.get_template(template).render(
        device=site.device,
        language=translation.language,
        languages={name: LANGUAGE_NAMES.get(name, name) for name in languages()},
        csrf=session.csrf if session is not None else "",
        path=request.url.path,
        **site.template_values(),
        **values,
    )
    return HTMLResponse(text, status)


def render_error(request: Request, status: int, message: str, hint: str = "") -> Response:
    """A page that says what went wrong and what to do."""
    return render(request, "error.html", status, title=message, hint=hint)
