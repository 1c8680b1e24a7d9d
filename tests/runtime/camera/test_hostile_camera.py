"""A camera that answers in a way that two readers understand differently leads to no other address."""

from __future__ import annotations

import pytest
from camera import Camera, Listener
from rtsp import RtspCamera

from vedette.runtime.camera.capture import relay
from vedette.runtime.camera.capture.stream import OpenCvStreamReader

pytestmark = pytest.mark.wait


class RawCamera(Listener):
    """Answers each request with the bytes that `answer` makes from it."""

    def __init__(self, answer):
        self.answer = answer
        super().__init__()

    def _serve(self, connection):
        with connection:
            received = b""
            while chunk := connection.recv(4096):
                received += chunk
                while b"\r\n\r\n" in received:
                    request, _, received = received.partition(b"\r\n\r\n")
                    connection.sendall(self.answer(request))
                    if b"HTTP/1." in request:
                        return


def redirects(protocol, target):
    """Answers that redirect to `target` in the eyes of a lenient reader, each by name."""
    to = b"\r\nCSeq: 1\r\nLocation: " + target.encode() + b"\r\nContent-Length: 0\r\n\r\n"
    whole = protocol + b" 302 Found" + to
    good = protocol + b" 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE\r\n"
    return {
        "plain": whole,
        "sign": protocol + b" +302 Found" + to,
        "letters": protocol + b" 302x Found" + to,
        "zero": protocol + b" 0302 Found" + to,
        "bare line feed": good[:-2] + b"\r\nX: y\n\n" + whole,
        "no protocol": b"x 302 Found" + to,
        "line feed in status": protocol + b" 200\n" + whole,
        "second answer": good + b"Content-Length: 0\r\n\r\n" + whole,
        "two lengths": good + b"Content-Length: %d\r\nContent-Length: 0\r\n\r\n" % len(whole) + whole,
        "sign of length": good + b"Content-Length: +0\r\n\r\n" + whole,
        "length and space": good + b"Content-Length : %d\r\n\r\n" % len(whole) + whole,
        "continue": protocol + b" 100 Continue\r\n\r\n" + whole,
        "early hints": protocol + b" 103 Early\r\n\r\n" + whole,
    }


NAMES = list(redirects(b"", ""))


@pytest.fixture(params=["relay", "FFmpeg alone"], autouse=True)
def _guards(request, monkeypatch):
    """The relay refuses what is no success; FFmpeg's own limits hold even for what the relay would pass."""
    if request.param != "relay":
        monkeypatch.setattr(relay, "describe_status", lambda status, has_login: "")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("verb", [b"OPTIONS", b"DESCRIBE"])
def test_no_answer_over_rtsp_leads_to_another_address(name, verb):
    bystander = RtspCamera()
    answer = redirects(b"RTSP/1.0", bystander.url)[name]
    plain = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE\r\n\r\n"
    camera = RawCamera(lambda request: answer if request.startswith(verb) else plain)
    with pytest.raises(RuntimeError):
        OpenCvStreamReader({"url": f"rtsp://127.0.0.1:{camera.port}/x", "timeout": 0.7}).grab()
    assert bystander.connections == 0
    for each in (camera, bystander):
        each.close()


@pytest.mark.parametrize("name", NAMES)
def test_no_answer_over_http_leads_to_another_address(name):
    bystander = Camera()
    answer = redirects(b"HTTP/1.1", bystander.url)[name]
    camera = RawCamera(lambda request: answer)
    with pytest.raises(RuntimeError):
        OpenCvStreamReader({"url": f"http://127.0.0.1:{camera.port}/x", "timeout": 0.7}).grab()
    assert bystander.connections == 0
    for each in (camera, bystander):
        each.close()


@pytest.mark.parametrize("path", ["live.m3u8", "live.mpd"])
def test_playlist_of_pieces_that_a_player_would_fetch_leads_nowhere(path):
    bystander = Camera()
    piece = f"http://127.0.0.1:{bystander.port}/piece.ts"
    lists = {
        "live.m3u8": ("application/vnd.apple.mpegurl", f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{piece}\n"),
        "live.mpd": (
            "application/dash+xml",
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            'mediaPresentationDuration="PT9S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
            f'bandwidth="1"><BaseURL>{piece}</BaseURL></Representation></AdaptationSet></Period></MPD>',
        ),
    }
    kind, text = lists[path]
    answer = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
    camera = RawCamera(lambda request: answer)
    with pytest.raises(RuntimeError):
        OpenCvStreamReader({"url": f"http://127.0.0.1:{camera.port}/{path}", "timeout": 0.7}).grab()
    assert bystander.connections == 0
    for each in (camera, bystander):
        each.close()
