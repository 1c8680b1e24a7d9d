"""A camera in the network, for tests: JPEG pictures over HTTP, as it should be and as it should not."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from functools import cache

import cv2
import numpy as np


def scene(number, seed=0):
    """A room with a sensor's noise: 240 x 320 x 3, uint8."""
    return cv2.add(room(seed), np.roll(noise(), 7 * number, axis=0), dtype=cv2.CV_8U)


def jpeg(pixels):
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


@cache
def noise():
    return np.random.default_rng(1).normal(0, 3, (240, 320, 3)).round().astype(np.int16)


@cache
def room(seed):
    rng = np.random.default_rng(seed)
    picture = np.full((240, 320, 3), 110.0)
    for _ in range(25):
        left, top = rng.integers(0, 280), rng.integers(0, 200)
        colour = rng.integers(30, 220, 3)
        picture[top : top + rng.integers(15, 60), left : left + rng.integers(15, 60)] = colour
    return picture.astype(np.int16)


_REFUSAL = b'HTTP/1.1 401 no\r\nWWW-Authenticate: Basic realm="camera"\r\nContent-Length: 0\r\n\r\n'


class Listener:
    """Serves whoever connects to a port of its own, each in a thread, until it is closed."""

    def __init__(self):
        self.running, self.connections = True, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.running = False
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while self.running:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        raise NotImplementedError


class Camera(Listener):
    """One that is there until it is closed.

    `picture` makes what is sent, pixels or a JPEG, from the number of the picture, `mode` is how it is sent:
    good, silent (answers nothing), stalled (sends nothing more), trickle (a byte now and then), garbage (bytes that are
    no picture), reset (hangs up rudely), refused (wants another password), empty (answers, and ends).
    """

    def __init__(self, picture=scene, fps=20.0, login=""):
        self.picture, self.fps, self.login, self.mode = picture, fps, login, "good"
        self.sent = 0
        super().__init__()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/video.mjpg"

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(4096) or b"\r\n\r\n"
            while self.running and self.mode == "silent":
                time.sleep(0.05)
            refused = self.login and f"Authorization: Basic {self.login}".encode() not in request
            if refused or self.mode == "refused":
                connection.sendall(_REFUSAL)
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\n\r\n")
            began, first = time.monotonic(), self.sent
            while self.running and self._send(connection):
                time.sleep(max(0.0, began + (self.sent - first) / self.fps - time.monotonic()))

    def _send(self, connection):
        if self.mode == "stalled":
            time.sleep(0.05)
        elif self.mode == "trickle":
            connection.sendall(b"\xff")
            time.sleep(0.3)
        elif self.mode == "garbage":
            connection.sendall(random.Random(self.sent).randbytes(4000))
            self.sent += 1
        elif self.mode == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        elif self.mode == "empty":
            return False
        else:
            made = self.picture(self.sent)
            body = made if isinstance(made, bytes) else jpeg(made)
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body + b"\r\n")
            self.sent += 1
        return True
