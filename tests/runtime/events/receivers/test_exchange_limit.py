"""Receivers that answer for ever, byte by byte or without an end: their own thread is not held."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import patience

from vedette.runtime.clock import Clock
from vedette.runtime.config.sink_tables import MailSettings, WebhookSettings
from vedette.runtime.events.event import Event, new_event_id
from vedette.runtime.events.outbox import SequencedEvent
from vedette.runtime.events.receivers import DeliveryFailed, ReceiverContext, one_line
from vedette.runtime.events.receivers.mail import MailReceiver
from vedette.runtime.events.receivers.webhook import WebhookReceiver

TIMEOUT = 0.2


@pytest.fixture
def serve():
    """Starts a server that greets, and then sends the same for ever; returns its port."""
    listeners, stop = [], threading.Event()

    def start(greeting: bytes, again: bytes, seconds: float) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def talk() -> None:
            connection, _ = listener.accept()
            with contextlib.closing(connection), contextlib.suppress(OSError):
                connection.sendall(greeting)
                while not stop.wait(seconds):
                    connection.sendall(again)

        threading.Thread(target=talk, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    stop.set()
    for listener in listeners:
        listener.close()


def make_receiver(kind: str, port: int, folder: Path) -> WebhookReceiver | MailReceiver:
    context = ReceiverContext("box7", "door", "/a/b/c/box7", "UTC", folder, "epoch", Clock())
    if kind == "webhook":
        return WebhookReceiver(WebhookSettings(url=f"http://127.0.0.1:{port}/", timeout=TIMEOUT), context)
    settings = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "a@b.c", "to": ("d@e.f",)}
    return MailReceiver(MailSettings(timeout=TIMEOUT, **settings), context)


ENDLESS = [
    ("webhook", b"HTTP/1.1 ", b"2", 0.05),
    ("webhook", b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.0),
    ("smtp", b"", b"2", 0.05),
    ("smtp", b"220 a\r\n", b"250-x\r\n", 0.0),
    ("smtp", b"220 a\r\n250 a\r\n250 a\r\n250 a\r\n354 a\r\n", b"2", 0.05),
]


@pytest.mark.parametrize(("kind", "greeting", "again", "seconds"), ENDLESS)
def test_an_answer_without_an_end_is_cut_and_the_event_waits(
    serve: Callable[..., int], tmp_path: Path, kind: str, greeting: bytes, again: bytes, seconds: float
) -> None:
    receiver, identity = make_receiver(kind, serve(greeting, again, seconds), tmp_path), new_event_id()
    receiver.add(SequencedEvent(1, Event(identity, identity, "door", "presence", "new", 1e9, 0, 1e9, 1.0)))
    began = time.monotonic()
    with pytest.raises(DeliveryFailed):
        receiver.deliver()
    assert time.monotonic() - began < 4 * TIMEOUT + 5 * patience()
    receiver.close()


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n"])
def test_a_status_counts_although_the_rest_has_no_end(
    serve: Callable[..., int], tmp_path: Path, greeting: bytes
) -> None:
    receiver, identity = make_receiver("webhook", serve(greeting, b"x", 0.01), tmp_path), new_event_id()
    receiver.add(SequencedEvent(1, Event(identity, identity, "door", "presence", "new", 1e9, 0, 1e9, 1.0)))
    began = time.monotonic()
    with contextlib.suppress(DeliveryFailed):  # the server paused for longer than the timeout
        assert [each.refused for each in receiver.deliver()] == [""]
    assert time.monotonic() - began < 4 * TIMEOUT + 5 * patience()
    receiver.close()


def test_what_a_receiver_says_is_one_printable_line() -> None:
    said = one_line("a\x1b[2J\r\nb\x00\u202e" + "x" * 100_000)
    assert said.startswith("a [2J b x")
    assert said.isprintable()
    assert len(said) == 500
