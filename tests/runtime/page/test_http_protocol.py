"""What the page's server does with requests that are malformed, incomplete or too long: real connections to it."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable

import pytest
from page_site import PageSite

from vedette.runtime.page import http_protocol
from vedette.runtime.page.browser_site import MAX_BODY
from vedette.runtime.page.page_server import serve_page

HEAD = "Host: 127.0.0.1\r\nConnection: close\r\n"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> int:
    site = PageSite(tmp_path_factory.mktemp("page") / "configuration", events=0, cameras=("belt",))
    listener, known = socket.socket(), threading.Event()
    listener.bind(("127.0.0.1", 0))
    threading.Thread(target=serve_page, args=(site.folder, lambda _: known.set(), listener), daemon=True).start()
    assert known.wait(60)
    return listener.getsockname()[1]


@pytest.fixture
def send(port: int) -> Callable[[bytes], bytes]:
    def send(request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            connection.sendall(request)
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
            return answer

    return send


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "XYZ"])
def test_a_malformed_body_ends_the_connection_without_a_traceback(
    send: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture, method: str
) -> None:
    request = f"{method} /sign-in HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n-1\r\n\r\n"
    answer = send(request.encode())
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200"))
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_body_in_pieces_that_gets_too_long_is_refused(
    send: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    piece = b"x" * (MAX_BODY + 1)
    head = f"POST /sign-in HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n{len(piece):x}\r\n"
    assert send(head.encode() + piece + b"\r\n0\r\n\r\n").startswith(b"HTTP/1.1 413")
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("begun", ["", "GET / HT", f"POST /sign-in HTTP/1.1\r\n{HEAD}Content-Length: 9\r\n\r\nabc"])
def test_a_request_that_does_not_end_is_given_up(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, begun: str
) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(begun.encode())
        assert connection.recv(1000) == b""
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_connection_may_be_used_again_and_its_next_request_must_end_too(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 2.0)
    request = b"GET /static/page.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        for _ in range(2):
            connection.sendall(request)
            answer = b""
            while not answer.partition(b"\r\n\r\n")[2]:
                answer += connection.recv(1 << 20)
            assert answer.startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET ")
        while connection.recv(1 << 20):
            pass
