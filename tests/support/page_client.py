"""The page of a device as an application in this process, and a program that holds its token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from asgi_client import Answer, request
from page_site import PASSWORD
from starlette.applications import Starlette

from vedette.runtime.page.credentials import PageCredentials
from vedette.runtime.page.listen_address import KnownHosts
from vedette.runtime.page.live_pictures import LivePictures
from vedette.runtime.page.page_application import make_application
from vedette.runtime.page.page_context import PageContext
from vedette.runtime.page.page_server import load_page_settings
from vedette.runtime.page.password_hash import hash_password

TOKEN = "0123456789abcdef" * 4
HASH = hash_password(PASSWORD)


def make_app(folder: Path, token: str = TOKEN, is_secure: bool = False) -> Starlette:
    """The page of the configuration in a folder."""
    credentials = PageCredentials(HASH, token)
    hosts = KnownHosts(("box-7", "page.example.com"))
    settings = load_page_settings(folder)
    return make_application(PageContext(folder, "box-7", settings, credentials, hosts, is_secure, LivePictures()))


class PageClient:
    """Sends requests with the token, so that no session is needed."""

    def __init__(self, app: Starlette) -> None:
        self.app = app

    def get(self, target: str) -> Answer:
        return request(self.app, "GET", target, {"authorization": f"Bearer {TOKEN}"})

    def post(self, target: str, content: Any) -> Answer:
        body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        return request(self.app, "POST", target, {"authorization": f"Bearer {TOKEN}"}, body)
