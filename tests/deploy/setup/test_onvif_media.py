"""An ONVIF camera says where its video is, to who logs in, and cannot send anybody elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from vedette.deploy.seed import SeedCamera
from vedette.deploy.setup import onvif_media
from vedette.deploy.setup.onvif_discovery import read_probe_matches
from vedette.deploy.setup.onvif_media import find_stream, resolve_source
from vedette.runtime.errors import ConfigProblem, MachineProblem

USER, PASSWORD = "o&p", "s3cret"
ANSWERS = {
    "GetSystemDateAndTime": "<UTCDateTime><Time><Hour>7</Hour><Minute>8</Minute><Second>9</Second></Time>"
    "<Date><Year>2001</Year><Month>2</Month><Day>3</Day></Date></UTCDateTime>",
    "GetCapabilities": "<Capabilities><Media><XAddr>http://elsewhere/onvif/media</XAddr></Media></Capabilities>",
    "GetProfiles": '<Profiles token="main&amp;1"/><Profiles token="sub"/>',
    "GetStreamUri": "<MediaUri><Uri>rtsp://admin:x@192.168.0.9:8554/live/1?a=b</Uri></MediaUri>",
}
FAULT = "<Fault><Code>NotAuthorized</Code></Fault>"


class OnvifCamera(BaseHTTPRequestHandler):
    """Answers the four questions, the last three only to a valid digest."""

    asked: list[tuple[str, str]]
    answers: dict[str, str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        verb = next(each for each in ANSWERS if f"<m:{each} " in body)
        self.asked.append((verb, self.path))
        content = self.answers[verb] if verb == "GetSystemDateAndTime" or self.is_login(body) else FAULT
        text = f'<e:Envelope xmlns:e="urn:soap" xmlns="x">{content}</e:Envelope>'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    @staticmethod
    def is_login(body: str) -> bool:
        parts = dict(re.findall(r"<(?:u:)?(\w+)(?: [^>]*)?>([^<]+)(?=<)", body))
        on_time = parts.get("Created", "").startswith("2001-02-03T07:0")  # the camera's clock, not ours
        if parts.get("Username") != "o&amp;p" or PASSWORD in body or not on_time:
            return False
        content = base64.b64decode(parts["Nonce"]) + parts["Created"].encode() + PASSWORD.encode()
        return base64.b64decode(parts["Password"]) == hashlib.sha1(content).digest()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def camera() -> Iterator[tuple[str, type[OnvifCamera]]]:
    """Address of the device service, and the handler with what it was asked."""
    handler = type("Handler", (OnvifCamera,), {"asked": [], "answers": dict(ANSWERS)})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/onvif/device_service", handler
    server.shutdown()
    server.server_close()


def test_a_camera_says_where_its_video_is(camera: tuple[str, type[OnvifCamera]]) -> None:
    service, handler = camera
    found = SeedCamera(name="door", source=f"onvif:{service}", username=USER, password=PASSWORD, bundle="b")
    assert resolve_source(found).source == "rtsp://127.0.0.1:8554/live/1?a=b", "no login in it, and no other host"
    assert handler.asked == [
        ("GetSystemDateAndTime", "/onvif/device_service"),
        ("GetCapabilities", "/onvif/device_service"),
        ("GetProfiles", "/onvif/media"),
        ("GetStreamUri", "/onvif/media"),
    ]
    plain = SeedCamera(name="door", source="v4l2:/dev/video0", bundle="b")
    assert resolve_source(plain) is plain


def test_a_wrong_login_is_told(camera: tuple[str, type[OnvifCamera]]) -> None:
    for user, password in (("", ""), (USER, "wrong")):
        with pytest.raises(ConfigProblem, match="refuses the login"):
            find_stream(camera[0], user, password)


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("GetProfiles", ""),
        ("GetProfiles", "<Profiles"),
        ("GetStreamUri", "<!ENTITY a 'b'>"),
        ("GetStreamUri", "<MediaUri><Uri>file:///etc/passwd</Uri></MediaUri>"),
        ("GetStreamUri", "<MediaUri><Uri>rtsp://[x/live</Uri></MediaUri>"),
        ("GetStreamUri", "<MediaUri><Uri>rtsp://h/live&#x9b;2J</Uri></MediaUri>"),
        ("GetStreamUri", "<MediaUri><Uri>rtsp://h/live\u202e</Uri></MediaUri>"),
    ],
)
def test_a_strange_answer_is_a_problem(camera: tuple[str, type[OnvifCamera]], verb: str, answer: str) -> None:
    camera[1].answers[verb] = answer
    with pytest.raises(MachineProblem):
        find_stream(camera[0], USER, PASSWORD)


def test_a_media_address_that_is_none_is_taken_for_that_of_the_device(camera: tuple[str, type[OnvifCamera]]) -> None:
    camera[1].answers["GetCapabilities"] = "<Capabilities><Media><XAddr>http://[x</XAddr></Media></Capabilities>"
    assert find_stream(camera[0], USER, PASSWORD) == "rtsp://127.0.0.1:8554/live/1?a=b"
    assert camera[1].asked[-1] == ("GetStreamUri", "/onvif/device_service")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "cp037"])
def test_no_entity_of_a_camera_is_expanded(encoding: str) -> None:
    text = f"<?xml version='1.0' encoding='{encoding}'?><!DOCTYPE a [<!ENTITY b 'expanded'>]>"
    text += "<a><RelatesTo>me</RelatesTo><ProbeMatch><XAddrs>http://h/&b;</XAddrs></ProbeMatch></a>"
    assert read_probe_matches(text.encode(encoding), "me", "h") == []
    client = onvif_media._Client("http://h/x", "", "")
    with pytest.raises(MachineProblem):
        client._parse(text.encode(encoding), "Get")


def test_an_address_that_is_none_is_refused() -> None:
    for service in ("ftp://h/x", "http://u:p@h/x", "http:///x"):
        with pytest.raises(ConfigProblem, match="not the address"):
            find_stream(service, "", "")
    with pytest.raises(MachineProblem, match="does not answer"):
        find_stream("http://127.0.0.1:9/onvif", "", "")
