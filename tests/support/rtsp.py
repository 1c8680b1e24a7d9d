"""A camera that speaks RTSP, for tests: motion JPEG (RFC 2435) in RTP, interleaved on the TCP connection."""

from __future__ import annotations

import contextlib
import struct
import time

import cv2
from camera import Listener, scene

_SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track0\r\n"
_MOST = 1400  # bytes of a picture in a packet


class RtspCamera(Listener):
    """One that is there until it is closed; `mode` is good, silent (never answers) or stalled."""

    def __init__(self, picture=scene, fps=15.0):
        self.picture, self.fps, self.mode = picture, fps, "good"
        self.transports = []
        super().__init__()

    @property
    def url(self):
        return f"rtsp://127.0.0.1:{self.port}/stream1"

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            request = b""
            while self.running:
                request += connection.recv(4096)
                if not request:
                    return
                if b"\r\n\r\n" not in request or self.mode == "silent":
                    continue
                lines = request.decode().split("\r\n")
                request = b""
                verb = lines[0].split()[0]
                fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
                connection.sendall(self._answer(verb, fields))
                if verb == "PLAY":
                    self._play(connection)
                    return

    def _answer(self, verb, fields):
        more, body = "", ""
        if verb == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif verb == "DESCRIBE":
            more, body = f"Content-Type: application/sdp\r\nContent-Length: {len(_SDP)}\r\n", _SDP
        elif verb == "SETUP":
            self.transports.append(fields["Transport"])
            more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        elif verb == "PLAY":
            more = "Session: 1\r\n"
        return f"RTSP/1.0 200 OK\r\nCSeq: {fields['CSeq']}\r\n{more}\r\n{body}".encode()

    def _play(self, connection):
        count = number = 0
        while self.running:
            if self.mode == "good":
                for packet, last in _packets(self.picture(number)):
                    stamp = int(number * 90_000 / self.fps) & 0xFFFFFFFF
                    header = struct.pack(">BBHII", 0x80, 26 | last << 7, count & 0xFFFF, stamp, 1)
                    connection.sendall(struct.pack(">cBH", b"$", 0, len(header) + len(packet)) + header + packet)
                    count += 1
                number += 1
            time.sleep(1 / self.fps)


def _packets(pixels):
    """Parts of one picture, and whether each is the last."""
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    tables, place = b"", 2
    while jpeg[place + 1] != 0xDA:  # start of scan
        length = int.from_bytes(jpeg[place + 2 : place + 4], "big")
        if jpeg[place + 1] == 0xDB:  # quantisation tables of 64 numbers, each with its number before it
            body = jpeg[place + 4 : place + 2 + length]
            tables += b"".join(body[start + 1 : start + 65] for start in range(0, len(body), 65))
        place += 2 + length
    place += 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
    scan, (height, width) = jpeg[place:-2], pixels.shape[:2]
    for start in range(0, len(scan), _MOST):
        head = struct.pack(">IBBBB", start, 1, 255, width // 8, height // 8)
        if start == 0:
            head += struct.pack(">BBH", 0, 0, len(tables)) + tables
        yield head + scan[start : start + _MOST], start + _MOST >= len(scan)
