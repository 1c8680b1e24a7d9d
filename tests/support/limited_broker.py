"""A slow broker with MQTT 5 that announces a Receive Maximum, and ends the connection of a client that exceeds it."""

from __future__ import annotations

import socket
import threading

_CONNECT, _PUBLISH, _SUBSCRIBE, _DISCONNECT = 1, 3, 8, 14


class LimitedBroker:
    """Takes one client at a time; acknowledges the oldest message when nothing more has come for a moment."""

    def __init__(self, receive_maximum: int) -> None:
        self.receive_maximum = receive_maximum
        self.most = self.taken = self.exceeded = 0
        """The most messages that waited at once; all that were taken; connections that were ended."""
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                stream, _ = self.server.accept()
            except OSError:
                return
            with stream:
                self._serve(stream)

    def _serve(self, stream: socket.socket) -> None:
        waiting: list[bytes] = []
        while True:
            try:
                kind, flags, body = _read_packet(stream)
            except TimeoutError:
                if waiting:
                    stream.sendall(b"\x40\x02" + waiting.pop(0))
                    self.taken += 1
                continue
            except OSError:
                return
            if kind == _CONNECT:
                stream.sendall(b"\x20\x06\x00\x00\x03\x21" + self.receive_maximum.to_bytes(2))
            elif kind == _SUBSCRIBE:
                stream.sendall(b"\x90\x04" + body[:2] + b"\x00\x01")
            elif kind == _PUBLISH and flags & 6:
                topic = int.from_bytes(body[:2])
                waiting.append(body[2 + topic : 4 + topic])
                self.most = max(self.most, len(waiting))
                if len(waiting) > self.receive_maximum:
                    self.exceeded += 1
                    stream.sendall(b"\xe0\x01\x93")
                    return
            elif kind == _DISCONNECT:
                return

    def close(self) -> None:
        self.server.close()


def _read_packet(stream: socket.socket) -> tuple[int, int, bytes]:
    """Kind, flags and body of the next packet."""
    stream.settimeout(0.03)
    first = _read(stream, 1)[0]
    stream.settimeout(10)
    length = shift = 0
    while True:
        byte = _read(stream, 1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return first >> 4, first & 15, _read(stream, length)


def _read(stream: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = stream.recv(count - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data
