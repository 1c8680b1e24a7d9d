"""A webhook or mail server that follows a script on each connection, and is well-behaved when it has no more."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from typing import NamedTuple

from waiting import patience

TIMEOUT = 0.25
"""Of the sinks; a whole exchange may take four times as long."""
SANE_MAIL = (b"220 a", b"250 a", b"250 a", b"250 a", b"354 a", b"250 a", b"221 a")
_ACCEPTED = {"webhook": re.compile(rb"HTTP/\d\.?\d* *2\d\d"), "smtp": re.compile(rb"(?m)^\W?2?50")}
"""What a receiver may take for an acceptance."""
_DRIP_SECONDS = 0.05


class Script(NamedTuple):
    """What a server says on one connection: a piece at its beginning and one after each thing that it reads."""

    pieces: tuple[bytes, ...]
    end: str
    """`close`, `endless` (repeats the last piece), `drip` (byte by byte), or `silence`."""


class OddServer:
    """A server of which each connection follows a script.

    Args:
        kind: `webhook` or `smtp`
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.scripts: list[Script] = []
        self.taken: list[bytes] = []
        """What came on connections on which it was well-behaved, or said something like yes."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            script = self.scripts.pop(0) if self.scripts else None
            threading.Thread(target=self._talk, args=(connection, script), daemon=True).start()

    def _talk(self, connection: socket.socket, script: Script | None) -> None:
        connection.settimeout(5)
        received, said = bytearray(), bytearray()
        with contextlib.closing(connection), contextlib.suppress(OSError):
            if script is None:
                self._behave(connection, received)
            else:
                self._follow(script, connection, received, said)
        if script is None or _ACCEPTED[self.kind].search(said):
            self.taken.append(bytes(received))

    def _behave(self, connection: socket.socket, received: bytearray) -> None:
        if self.kind == "webhook":
            _read_post(connection, received)
            connection.sendall(b"HTTP/1.1 204 A\r\nConnection: close\r\n\r\n")
            return
        for number, answer in enumerate(SANE_MAIL):
            connection.sendall(answer + b"\r\n")
            while number + 1 < len(SANE_MAIL) and (piece := connection.recv(1 << 20)):
                received += piece
                if number != 4 or received.endswith(b"\r\n.\r\n"):
                    break

    def _follow(self, script: Script, connection: socket.socket, received: bytearray, said: bytearray) -> None:
        """Says what the script says; what is endless stops after some seconds in which nobody stopped it."""
        deadline = time.monotonic() + 20 * TIMEOUT * patience()
        if self.kind == "webhook":
            _read_post(connection, received)
        try:
            for piece in script.pieces:
                for part in [piece] if script.end != "drip" else [bytes([each]) for each in piece]:
                    connection.sendall(part)
                    said += part[:4096]
                    time.sleep(_DRIP_SECONDS if script.end == "drip" else 0)
                if self.kind == "smtp" and script.end in ("close", "silence"):
                    received += connection.recv(1 << 20)
            while script.end in ("endless", "drip") and time.monotonic() < deadline:
                time.sleep(_DRIP_SECONDS if script.end == "drip" else 0)
                connection.sendall(b"x" if script.end == "drip" else script.pieces[-1] * 50 or b"x")
            if script.end == "silence":
                time.sleep(2 * TIMEOUT)
        finally:
            connection.settimeout(0.05)
            while piece := connection.recv(1 << 20):
                received += piece


def _read_post(connection: socket.socket, received: bytearray) -> None:
    while not received.endswith(b"}") and (piece := connection.recv(1 << 20)):
        received += piece
