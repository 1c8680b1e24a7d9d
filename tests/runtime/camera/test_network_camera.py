"""What a network camera answers is told in a sentence, and it leads to no address but its own."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
import threading

import pytest
from camera import Camera, Listener, jpeg, scene
from rtsp import RtspCamera

from vedette.runtime.camera.capture import camera_answers, relay, stream
from vedette.runtime.camera.capture.camera_login import CameraLogin
from vedette.runtime.camera.capture.stream import OpenCvStreamReader

pytestmark = pytest.mark.wait
SDP_WITHOUT_VIDEO = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\na=control:track0\r\n"


class AnsweringCamera(Listener):
    """Answers DESCRIBE (RTSP) or GET (HTTP) with a fixed answer, and notes all requests."""

    def __init__(self, status, more="", body=""):
        self.status, self.more, self.body, self.requests = status, more, body, []
        super().__init__()

    def _serve(self, connection):
        with connection:
            received = b""
            while True:
                chunk = connection.recv(4096)
                if not chunk:
                    return
                received += chunk
                while b"\r\n\r\n" in received:
                    head, _, received = received.partition(b"\r\n\r\n")
                    text = head.decode()
                    self.requests.append(text)
                    connection.sendall(self._answer(text).encode())
                    if "HTTP/1." in text:
                        return

    def _answer(self, request):
        number = re.search(r"CSeq: (\d+)", request)
        protocol = "RTSP/1.0" if number else "HTTP/1.1"
        sequence = f"CSeq: {number[1]}\r\n" if number else ""
        if request.startswith("OPTIONS"):
            return f"{protocol} 200 OK\r\n{sequence}Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n"
        length = f"Content-Length: {len(self.body)}\r\n"
        return f"{protocol} {self.status}\r\n{sequence}{self.more}{length}\r\n{self.body}"


@pytest.fixture
def answering():
    cameras = []

    def make(*answer):
        cameras.append(AnsweringCamera(*answer))
        return cameras[-1]

    yield make
    for each in cameras:
        each.close()


def failure(url, timeout=3.0):
    """Why a source cannot be read."""
    with pytest.raises(RuntimeError) as caught:
        OpenCvStreamReader({"url": url, "timeout": timeout}).grab()
    return str(caught.value)


BASIC = 'WWW-Authenticate: Basic realm="camera"\r\n'


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
@pytest.mark.parametrize(
    ("status", "more", "login", "sentence"),
    [
        ("401 Unauthorized", BASIC, "", "it asks for a login (401): write username and password_file"),
        ("401 Unauthorized", BASIC, "me:no@", "it refuses the password (401): check username and password_file"),
        ("404 Not Found", "", "", "there is no such stream (404): check the path"),
        ("503 Service Unavailable", "", "", "it cannot serve the stream now (503)"),
        ("500 Broken", "", "", "it answers with the error 500"),
    ],
)
def test_refusal_is_told_as_what_it_is(scheme, status, more, login, sentence, answering):
    camera = answering(status, more)
    assert failure(f"{scheme}://{login}127.0.0.1:{camera.port}/stream1").startswith(sentence)


def test_refused_port_missing_route_unknown_name_and_silence_are_told_apart(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    told = {failure(f"rtsp://127.0.0.1:{port}/x")}
    assert f"nothing listens at port {port}" in next(iter(told))
    silent = RtspCamera()
    silent.mode = "silent"
    told.add(failure(silent.url, 1.5))
    silent.close()

    def fail(error):
        def connect(*_arguments, **_options):
            raise error

        monkeypatch.setattr(relay.socket, "create_connection", connect)
        told.add(failure("rtsp://10.255.255.1/x"))

    fail(OSError(113, "No route to host"))
    assert any("there is no route to 10.255.255.1" in each for each in told)
    fail(socket.gaierror(-2, "Name or service not known"))
    assert any("name 10.255.255.1 is unknown" in each for each in told)
    assert camera_answers.NO_ANSWER in told
    assert len(told) == 4


def test_answer_without_video_is_told(answering):
    camera = answering("200 OK", "Content-Type: application/sdp\r\n", SDP_WITHOUT_VIDEO)
    assert "sends no video" in failure(f"rtsp://127.0.0.1:{camera.port}/audio", 1.5)
    page = answering("200 OK", "Content-Type: text/html\r\n", "<html>camera</html>")
    assert "sends no video" in failure(f"http://127.0.0.1:{page.port}/", 1.5)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_redirect_is_not_followed_and_told(scheme, status, answering):
    bystander = RtspCamera() if scheme == "rtsp" else Camera()
    camera = answering(status, f"Location: {bystander.url}\r\n")
    text = failure(f"{scheme}://127.0.0.1:{camera.port}/stream1")
    assert "redirects to another address" in text
    assert bystander.connections == 0
    bystander.close()


def test_redirect_of_the_first_request_is_not_followed(answering, monkeypatch):
    bystander = RtspCamera()
    camera = answering("302 Found", f"Location: {bystander.url}\r\n")
    monkeypatch.setattr(
        camera, "_answer", lambda request: f"RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: {bystander.url}\r\n\r\n"
    )
    failure(f"rtsp://127.0.0.1:{camera.port}/stream1")
    assert bystander.connections == 0
    bystander.close()


@pytest.mark.parametrize("kind", ["application/vnd.apple.mpegurl", "application/dash+xml", "text/plain", "video/mp4"])
@pytest.mark.parametrize("path", ["live.m3u8", "live.mpd", "video.mjpg"])
def test_playlist_leads_nowhere(kind, path, answering):
    bystander = Camera()
    lists = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{bystander.url}\n",
        "concat": f"ffconcat version 1.0\nfile '{bystander.url}'\n",
        "dash": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet>'
        f"<Representation><BaseURL>{bystander.url}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n",
    }
    for text in lists.values():
        camera = answering("200 OK", f"Content-Type: {kind}\r\n", text)
        failure(f"http://127.0.0.1:{camera.port}/{path}", 1.5)
    assert bystander.connections == 0
    bystander.close()


def test_camera_sees_its_own_address_in_every_request(answering):
    camera = answering("404 Not Found")
    failure(f"rtsp://localhost:{camera.port}/live/1?channel=2")
    assert camera.requests
    for request in camera.requests:
        assert request.split("\r\n")[0].split()[1].startswith(f"rtsp://localhost:{camera.port}/live/1?channel=2")
    page = answering("404 Not Found")
    failure(f"http://localhost:{page.port}/live.mjpg?a=1")
    (request,) = page.requests
    assert request.startswith("GET /live.mjpg?a=1 HTTP/1.1\r\n")
    assert f"\r\nHost: localhost:{page.port}" in request


def test_relay_serves_nobody_without_the_token():
    camera = Camera()
    made = relay.Relay(camera.url, 3.0)
    port = made.listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
        stranger.sendall(b"GET /video.mjpg HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stranger.recv(100) == b""
    assert camera.connections == 0
    camera.close()


class LoginRtspCamera(RtspCamera):
    """Asks for a login by digest with each request."""

    def __init__(self, user, password, qop):
        self.user, self.password, self.qop, self.refused, self.admitted = user, password, qop, 0, []
        super().__init__()

    def _answer(self, verb, fields):
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', fields.get("Authorization", "")))
        md5 = lambda *parts: hashlib.md5(":".join(parts).encode()).hexdigest()  # noqa: E731
        who, what = md5(self.user, "cam", self.password), md5(verb, given.get("uri", ""))
        if self.qop:
            right = md5(who, "n0nce", given.get("nc", ""), given.get("cnonce", ""), "auth", what)
        else:
            right = md5(who, "n0nce", what)
        if given.get("response") != right:
            self.refused += 1
            qop = ', qop="auth"' if self.qop else ""
            ask = f'WWW-Authenticate: Digest realm="cam", nonce="n0nce"{qop}\r\n'
            return f"RTSP/1.0 401 Unauthorized\r\nCSeq: {fields['CSeq']}\r\n{ask}\r\n".encode()
        self.admitted.append((verb, given["uri"]))
        return super()._answer(verb, fields)


@pytest.mark.parametrize("qop", [False, True])
def test_digest_login_over_rtsp(qop):
    camera = LoginRtspCamera("watcher", "s3cret/@", qop)
    url = camera.url.replace("//", "//watcher:s3cret%2F%40@")
    reader = OpenCvStreamReader({"url": url, "timeout": 5.0})
    for _ in range(5):
        reader.grab()
    assert reader.retrieve(None).shape == (240, 320, 3)
    assert camera.refused == 1, "asked once, known from then on"
    assert {verb for verb, _ in camera.admitted} >= {"DESCRIBE", "SETUP", "PLAY"}
    assert all(uri.startswith(camera.url) for _, uri in camera.admitted)
    camera.close()
    wrong = LoginRtspCamera("watcher", "another", qop)
    assert "refuses the password" in failure(wrong.url.replace("//", "//watcher:s3cret@"))
    wrong.close()


def test_digest_is_that_of_the_rfcs_examples(monkeypatch):
    login = CameraLogin("Mufasa", "Circle Of Life")
    monkeypatch.setattr("vedette.runtime.camera.capture.camera_login.secrets.token_hex", lambda _: "0a4f113b")
    asked = (
        b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm="testrealm@host.com", qop="auth,auth-int", '
        b'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"\r\n\r\n'
    )
    assert login.read_challenge(asked)
    signed = login.sign(b"GET /dir/index.html HTTP/1.1\r\nHost: x\r\n\r\n").decode()
    assert 'response="6629fae49393a05397450978507c4ef1"' in signed  # RFC 2617, section 3.5


def test_basic_login_and_unknown_schemes():
    login = CameraLogin("a", "b:c")
    assert login.read_challenge(b'HTTP/1.1 401\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n')
    expected = base64.b64encode(b"a:b:c")
    assert b"Authorization: Basic " + expected in login.sign(b"GET / HTTP/1.1\r\n\r\n")
    assert not CameraLogin("a", "b").read_challenge(b"HTTP/1.1 401\r\nWWW-Authenticate: Negotiate\r\n\r\n")
    assert not CameraLogin("", "").read_challenge(b'HTTP/1.1 401\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n')


def test_requests_during_a_stream_carry_address_and_login():
    """What keeps an RTSP session alive is a request, too; RTCP packets between requests pass as they are."""
    received, done = [], threading.Event()

    class Session(RtspCamera):
        def _play(self, connection):
            connection.settimeout(5)
            data = b""
            while data.count(b"\r\n\r\n") < 2:
                data += connection.recv(4096)
            received.append(data)
            done.set()

    camera = Session()
    made = relay.Relay(camera.url, 3.0)
    port = made.listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        ask = lambda verb: f"{verb} {made.url} RTSP/1.0\r\nCSeq: 1\r\nTransport: x\r\n\r\n".encode()  # noqa: E731
        client.sendall(ask("PLAY"))
        assert b"200 OK" in client.recv(4096)
        packet = b"$\x01\x00\x06\r\n\r\n\x00\x01"
        client.sendall(packet + ask("GET_PARAMETER")[:20])
        client.sendall(ask("GET_PARAMETER")[20:])
        assert done.wait(10)
    assert received[0].startswith(packet + f"GET_PARAMETER {camera.url} RTSP/1.0\r\n".encode())
    camera.close()


def test_pictures_pass_unchanged():
    camera = Camera(picture=lambda _: jpeg(scene(3)), login=base64.b64encode(b"me:pw").decode())
    reader = OpenCvStreamReader({"url": camera.url.replace("//", "//me:pw@"), "timeout": 5.0})
    reader.grab()
    first = reader.retrieve(None).copy()
    reader.grab()
    assert (reader.retrieve(None) == first).all()
    camera.close()


def test_options_of_a_camera_hold_for_no_other_file(answering):
    camera = answering("404 Not Found")
    failure(f"rtsp://127.0.0.1:{camera.port}/x")
    assert "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ


def test_only_formats_that_hold_the_video_are_read():
    assert not {"hls", "dash", "concat", "sdp", "rtsp", "rtp", "applehttp"} & set(stream._FORMATS.split(","))
