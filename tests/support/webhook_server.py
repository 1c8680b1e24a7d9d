"""A real HTTP server that takes webhooks, with TLS if it gets a certificate."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Posted(NamedTuple):
    """A request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    @property
    def sequence(self) -> int:
        return int(self.event["sequence"])


Reply = tuple[int, dict[str, str]] | None
"""Status and headers; None: the connection is closed without an answer."""


class WebhookServer:
    """A server on a free port.

    Args:
        reply: answers a request; by default each is accepted
        pair: certificate and key, for TLS
    """

    def __init__(self, reply: Callable[[Posted], Reply] = lambda _: (204, {}), pair: tuple[Path, Path] | None = None):
        self.requests: list[Posted] = []
        self.connections = 0
        self.reply = reply
        self.pair = pair
        self.port = 0
        self.date: str | None = None
        """The header `Date`; None: the present time."""
        self.idle: float | None = None
        """Seconds after which an idle connection is closed; None: never."""
        self.start()

    def start(self) -> None:
        """Listens, on the port that it had before if there was one."""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.connections += 1
                self.request.settimeout(outer.idle)
                super().setup()

            def date_time_string(self, timestamp: float | None = None) -> str:
                return outer.date or super().date_time_string(timestamp)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posted = Posted(self.path, {key.lower(): value for key, value in self.headers.items()}, body)
                outer.requests.append(posted)
                if (answer := outer.reply(posted)) is None:
                    self.close_connection = True
                    return
                self.send_response(answer[0])
                for key, value in answer[1].items():
                    self.send_header(key, value)
                if answer[0] != 204:
                    self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        if self.pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.pair)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'http' if self.pair is None else 'https'}://127.0.0.1:{self.port}/hook"

    @property
    def sequences(self) -> list[int]:
        return [each.sequence for each in self.requests]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
