"""A relay between FFmpeg and one network camera: FFmpeg reaches the configured host, port and scheme, and nothing else.

FFmpeg follows a redirect of a camera, over HTTP and over RTSP, to any address. So it does not get the camera's address
at all, but that of this relay on the loopback interface, with a token that other users of the machine do not know. The
relay puts the camera's own address into each request, answers the camera's request for a login, and passes the rest.
A camera that refuses or redirects is not passed on: `trouble` then says in a sentence what it answered, which FFmpeg
through OpenCV does not tell.

It reads headers only until the stream begins. The standard library suffices.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import threading
from urllib.parse import SplitResult, unquote, urlsplit

from .camera_answers import describe_connection_error, describe_status
from .camera_login import CameraLogin

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_PLAIN = {"rtsps": "rtsp", "https": "http"}
_MAX_HEADER_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 16
_HEADER_END = b"\r\n\r\n"


class Relay:
    """Relays connections to the camera at a URL, one after another or at once, until the process ends.

    Args:
        url: of the camera, with its login percent-encoded
        timeout: seconds within which the camera must answer
    """

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        self.scheme, self.host, self.timeout = parts.scheme, parts.hostname or "", timeout
        self.port = parts.port or _PORTS[parts.scheme]
        self.login = CameraLogin(unquote(parts.username or ""), unquote(parts.password or ""))
        self.authority = _authority(parts)
        self.token = secrets.token_hex(16)
        self.trouble = ""
        """What the camera answered instead of a stream; empty: nothing is known."""
        self.has_answered = False
        """Whether it has described a stream, or begun to send one."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        local = f"127.0.0.1:{self.listener.getsockname()[1]}"
        path = parts.path or "/"
        self.local_prefix = f"{_PLAIN.get(parts.scheme, parts.scheme)}://{local}/{self.token}"
        """What stands in FFmpeg's requests for the camera's scheme and authority."""
        self.url = f"{self.local_prefix}{path}{f'?{parts.query}' if parts.query else ''}"
        """What FFmpeg opens."""
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            request = _Message.read(client)
            if request is None or self.token.encode() not in request.head:
                return
            try:
                camera = self.connect()
            except OSError as error:
                self.trouble = describe_connection_error(error, self.host, self.port)
                return
            _Conversation(self, client, camera).run(request)

    def connect(self) -> socket.socket:
        """A connection to the camera; raises OSError."""
        camera = socket.create_connection((self.host, self.port), timeout=self.timeout)
        if self.scheme in _PLAIN:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # cameras sign their own certificates
            camera = context.wrap_socket(camera, server_hostname=self.host)
        return camera

    def address_request(self, head: bytes) -> bytes:
        """The header of a request with the camera's address in place of the relay's, and with the login."""
        head = head.replace(self.local_prefix.encode(), f"{self.scheme}://{self.authority}".encode())
        if self.scheme in ("http", "https"):
            head = head.replace(f"/{self.token}".encode(), b"", 1)
            head = _replace_field(head, b"Host", self.authority.encode())
        return self.login.sign(head)


class _Conversation:
    """One connection of FFmpeg, and one to the camera."""

    def __init__(self, relay: Relay, client: socket.socket, camera: socket.socket) -> None:
        self.relay, self.client, self.camera = relay, client, camera

    def run(self, request: _Message) -> None:
        """Passes requests and answers until the stream begins, and then bytes."""
        try:
            while (answer := self._ask(request)) is not None:
                if request.verb in ("PLAY", "GET"):
                    self._pass_stream(answer)
                    return
                self.client.sendall(answer.head + answer.rest)
                following = _Message.read(self.client)
                if following is None:
                    return
                request = following
        finally:
            self.camera.close()

    def _ask(self, request: _Message) -> _Message | None:
        """The camera's answer to a request, after a login if it asks for one; None if it is no stream."""
        relay, is_rtsp = self.relay, self.relay.scheme.startswith("rtsp")
        try:
            answer = self._send(request)
            if answer is not None and answer.status == 401 and relay.login.read_challenge(answer.head):
                if not is_rtsp or answer.field(b"connection").lower() == b"close":
                    self.camera.close()
                    self.camera = relay.connect()
                answer = self._send(request)
        except OSError as error:
            relay.trouble = describe_connection_error(error, relay.host, relay.port)
            return None
        if answer is None:
            relay.trouble = "it hangs up without an answer"
            return None
        relay.trouble = describe_status(answer.status, bool(relay.login.user))
        relay.has_answered |= not relay.trouble and request.verb != "OPTIONS"
        is_optional = request.verb == "OPTIONS" and not 300 <= answer.status < 400  # some cameras do not know it
        return answer if is_optional or not relay.trouble else None

    def _send(self, request: _Message) -> _Message | None:
        self.camera.sendall(self.relay.address_request(request.head) + request.rest)
        return _Message.read(self.camera, body=self.relay.scheme.startswith("rtsp"))

    def _pass_stream(self, answer: _Message) -> None:
        self.camera.settimeout(None)  # FFmpeg has its own limits
        self.client.sendall(answer.head + answer.rest)
        threading.Thread(target=self._pass_requests, daemon=True).start()
        with contextlib.suppress(OSError):
            while chunk := self.camera.recv(_CHUNK_BYTES):
                self.client.sendall(chunk)
        for each in (self.camera, self.client):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _pass_requests(self) -> None:
        """Passes what FFmpeg sends during a stream: requests that keep it alive, and RTCP packets between them."""
        waiting = b""
        with contextlib.suppress(OSError):
            while chunk := self.client.recv(_CHUNK_BYTES):
                waiting += chunk
                while (length := _length_of_first(waiting)) and len(waiting) >= length:
                    first, waiting = waiting[:length], waiting[length:]
                    self.camera.sendall(first if first[:1] == b"$" else self.relay.address_request(first))
        with contextlib.suppress(OSError):
            self.camera.shutdown(socket.SHUT_RDWR)


class _Message:
    """The header of a request or an answer, and what came with it."""

    def __init__(self, head: bytes, rest: bytes) -> None:
        self.head, self.rest = head, rest
        words = head.split(b"\r\n", 1)[0].split()
        self.verb = words[0].decode("latin-1") if words else ""
        self.status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0

    def field(self, name: bytes) -> bytes:
        """The value of a header field; empty if there is none."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name:
                return value.strip()
        return b""

    @classmethod
    def read(cls, stream: socket.socket, body: bool = False) -> _Message | None:
        """The next message; None if the other side hangs up, or sends what is no header.

        Args:
            stream: read from
            body: also read as many bytes as Content-Length says
        """
        received = b""
        while _HEADER_END not in received:
            chunk = stream.recv(_CHUNK_BYTES)
            if not chunk or len(received) > _MAX_HEADER_BYTES:
                return None
            received += chunk
        head, _, rest = received.partition(_HEADER_END)
        message = cls(head + _HEADER_END, rest)
        length = message.field(b"content-length")
        missing = min(int(length), _MAX_HEADER_BYTES) if body and length.isdigit() else 0
        while len(message.rest) < missing:
            chunk = stream.recv(_CHUNK_BYTES)
            if not chunk:
                return None
            message.rest += chunk
        return message


def _authority(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _replace_field(head: bytes, name: bytes, value: bytes) -> bytes:
    lines = head.split(b"\r\n")
    changed = [name + b": " + value if line.lower().startswith(name.lower() + b":") else line for line in lines]
    return b"\r\n".join(changed)


def _length_of_first(received: bytes) -> int:
    """Length of the first request, or of the first packet after a `$` (RFC 2326, 10.12); 0: not known yet."""
    if received[:1] == b"$":
        return 4 + int.from_bytes(received[2:4], "big") if len(received) >= 4 else 0
    end = received.find(_HEADER_END)
    return end + len(_HEADER_END) if end >= 0 else 0
