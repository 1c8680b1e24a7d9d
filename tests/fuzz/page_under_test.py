"""The device's page, served in this process: what the hostile requests are sent to."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import select
import socket
import threading
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from page_site import PageSite
from starlette.applications import Starlette
from waiting import patience

from vedette.runtime.installation.configuration import change_requests
from vedette.runtime.page import page_server
from vedette.runtime.page.page_application import make_application
from vedette.runtime.page.page_context import PageContext
from vedette.runtime.page.password_hash import hash_password

SECONDS = 30.0
"""For one answer, on an idle machine."""
_PASSWORD = "violet harbour ledger"
_FOREIGN = ("root:x:0", "def serve_page", "import uvicorn")
"""Of files that no request may show."""


class PageUnderTest:
    """The page of a box with two cameras, served in this process, with a session.

    Args:
        folder: an empty folder
        stack: closes the page
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        settings = 'password_file = "page.hash"\ntoken_file = "page.token"'
        self.site = PageSite(folder / "configuration", events=3, page=settings)
        self.token, password = secrets.token_hex(32), hash_password(_PASSWORD).encode()
        self.hidden = [self.token, _PASSWORD, password.rpartition("$")[2], *_FOREIGN]
        for name, text in (("page.token", self.token), ("page.hash", password)):
            (self.site.folder / name).write_text(text)
        files = {name: self.site.folder / "cameras" / f"{name}.toml" for name in self.site.cameras}
        self.digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
        self.site.store_scores("belt", hours=0.2)
        self.traces: list[str] = []
        handler = _Traces(self.traces)
        for name in ("uvicorn.error", "asyncio"):
            logging.getLogger(name).addHandler(handler)
            stack.callback(logging.getLogger(name).removeHandler, handler)
        stack.enter_context(mock.patch.object(change_requests, "apply_without_service"))
        stack.enter_context(self.site.running())
        contexts: list[PageContext] = []

        def make(context: PageContext) -> Starlette:
            contexts.append(context)
            return make_application(context)

        stack.enter_context(mock.patch.object(page_server, "make_application", make))
        listener, known = socket.socket(), threading.Event()
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        arguments = (self.site.folder, lambda _: known.set(), listener)
        threading.Thread(target=page_server.serve_page, args=arguments, daemon=True).start()
        assert known.wait(SECONDS * patience())
        while not contexts:
            time.sleep(0.01)
        self.context = contexts[0]
        self.sign_in()

    def sign_in(self) -> None:
        """Begins a session."""
        self.cookie = self.context.sessions.start()
        session = self.context.sessions.find(self.cookie)
        assert session is not None
        self.csrf = session.csrf

    def send(self, request: bytes) -> bytes:
        """The answer to the bytes of a request; TimeoutError: none came. After a silence no more is sent."""
        with socket.create_connection(("127.0.0.1", self.port), SECONDS * patience()) as connection:
            answer = bytearray()
            try:
                connection.sendall(request)
                while True:
                    if not select.select([connection], [], [], 0.3)[0]:
                        connection.shutdown(socket.SHUT_WR)
                    if not (piece := connection.recv(1 << 16)):
                        break
                    answer += piece
            except (ConnectionResetError, BrokenPipeError):
                pass
            return bytes(answer)

    def watched(self) -> dict[str, tuple[int, int]]:
        """Size and time of change of what a request could change."""
        found = {}
        folders = [self.site.folder / "cameras", *(self.site.state / name / "evidence" for name in self.site.cameras)]
        files = [self.site.folder / "vedette.toml", *(self.site.state / name for name in self.site.cameras)]
        requests, stored = self.site.state / "configuration", [self.site.state / name for name in ("models", ".upload")]
        paths = [path for folder in (*folders, requests, *stored) if folder.exists() for path in folder.rglob("*")]
        paths += [path / "reviews.jsonl" for path in files if path.is_dir()] + files[:1]
        for path in paths:
            if path.is_file():
                facts = os.stat(path)
                found[str(path)] = facts.st_size, facts.st_mtime_ns
        return found

    def clear_requests(self) -> None:
        """Removes what was asked for with right."""
        for path in (self.site.state / "configuration" / "requests").glob("*"):
            path.unlink()


class _Traces(logging.Handler):
    def __init__(self, traces: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.traces = traces

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.traces.append("".join(traceback.format_exception(*record.exc_info)))
