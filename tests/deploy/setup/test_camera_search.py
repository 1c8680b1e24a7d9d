"""Cameras are found at this machine and in its network, and answers of strangers do no harm."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from vedette.deploy.setup import camera_search, mdns_discovery
from vedette.deploy.setup.found_camera import FoundCamera
from vedette.deploy.setup.local_cameras import find_local_cameras
from vedette.deploy.setup.mdns_discovery import find_mdns_cameras
from vedette.deploy.setup.onvif_discovery import find_onvif_cameras, read_probe_matches
from vedette.runtime.errors import MachineProblem

ANSWER = """\
<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
 xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery">
<s:Header><a:RelatesTo>uuid:{message}</a:RelatesTo></s:Header><s:Body><d:ProbeMatches><d:ProbeMatch>
<d:Scopes>onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/name/Gate%20North
 onvif://www.onvif.org/hardware/IPC-42</d:Scopes>
<d:XAddrs>http://192.168.1.64/onvif/device_service http://127.0.0.1:8080/onvif/device_service</d:XAddrs>
</d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>"""
GATE = FoundCamera("onvif", "Gate North IPC-42", service="http://127.0.0.1:8080/onvif/device_service")


class Responder(threading.Thread):
    """A camera that answers probes at a UDP port of the loopback: garbage, an answer to another probe, then its own."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.socket.getsockname()
        self.start()

    def run(self) -> None:
        probe, asker = self.socket.recvfrom(65535)
        message = probe.decode().partition("uuid:")[2].partition("<")[0]
        for answer in ("no xml", ANSWER.format(message="other"), *[ANSWER.format(message=message)] * 2):
            self.socket.sendto(answer.encode(), asker)


def test_an_onvif_camera_answers_the_probe() -> None:
    responder = Responder()
    assert find_onvif_cameras(0.5, responder.address) == [GATE]
    responder.socket.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff\xfe\x00",
        ANSWER.format(message="other").encode(),
        ANSWER.format(message="m").replace("http:", "file:").encode(),
        ANSWER.format(message="m")
        .replace("http://192.168.1.64/onvif", "http://[")
        .replace("127.0.0.1", "u:p@h")
        .encode(),
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + ANSWER.format(message="m").partition("?>")[2].encode(),
        ANSWER.format(message="m").replace("<?xml version", '<?xml encoding="ROT13" version').encode(),
        ANSWER.format(message="m")[:-20].encode(),
    ],
)
def test_an_answer_that_is_none_is_no_camera(answer: bytes) -> None:
    assert read_probe_matches(answer, "m", "127.0.0.1") == []


def test_of_several_addresses_of_a_camera_that_of_the_sender_is_taken() -> None:
    answer = ANSWER.format(message="m").encode()
    assert read_probe_matches(answer, "m", "127.0.0.1") == [GATE]
    assert read_probe_matches(answer, "m", "10.0.0.9")[0].service.startswith("http://127.0.0.1")


def test_a_camera_that_announces_itself_is_found() -> None:
    zeroconf = pytest.importorskip("zeroconf")
    kind = "_rtsp._tcp.local."
    announced = zeroconf.ServiceInfo(
        kind,
        f"Yard Camera.{kind}",
        addresses=[socket.inet_aton("127.0.0.1")],
        port=8554,
        properties={"path": "/live/main"},
        server="yard-camera.local.",
    )
    camera = zeroconf.Zeroconf(interfaces=["127.0.0.1"])
    try:
        camera.register_service(announced)
        found = find_mdns_cameras(3.0, ["127.0.0.1"])
    finally:
        camera.close()
    assert FoundCamera("mdns", "Yard Camera", "rtsp://127.0.0.1:8554/live/main") in found


def test_without_zeroconf_the_search_goes_on_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: float) -> list[FoundCamera]:
        raise MachineProblem("cameras that announce themselves by mDNS are not searched", hint="pip install …")

    monkeypatch.setitem(__import__("sys").modules, "zeroconf", None)
    with pytest.raises(MachineProblem, match="mDNS"):
        mdns_discovery.find_mdns_cameras(0.1)
    monkeypatch.setattr(camera_search, "find_mdns_cameras", missing)
    monkeypatch.setattr(camera_search, "find_onvif_cameras", lambda _: [GATE])
    monkeypatch.setattr(camera_search, "find_local_cameras", list)
    monkeypatch.setattr(camera_search, "find_genicam_cameras", list)
    result = camera_search.find_cameras(0.1)
    assert result.cameras == (GATE,)
    assert "pip install" in result.remarks[0]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A Raspberry Pi with a USB camera, one at the ribbon connector, and its codecs."""
    names = {
        "video0": ("HD Pro Webcam C920", "0"),
        "video1": ("HD Pro Webcam C920", "1"),
        "video2": ("unicam-image", "0"),
        "video3": ("unicam-embedded", "0"),
        "video10": ("bcm2835-codec-decode", "0"),
        "video13": ("bcm2835-isp-output0", "0"),
        "video14": ("USB Camera", "0"),
    }
    (tmp_path / "dev/v4l/by-id").mkdir(parents=True)
    for node, (name, index) in names.items():
        folder = tmp_path / "sys/class/video4linux" / node
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "index").write_text(f"{index}\n")
        (tmp_path / "dev" / node).touch()
    (tmp_path / "dev/v4l/by-id/usb-046d_C920-video-index0").symlink_to("../../video0")
    return tmp_path


def test_cameras_at_this_machine_have_their_lasting_name_and_codecs_are_none(machine: Path) -> None:
    assert [(each.title, each.source) for each in find_local_cameras(machine)] == [
        ("HD Pro Webcam C920", "v4l2:/dev/v4l/by-id/usb-046d_C920-video-index0"),
        ("camera at the ribbon connector", "picamera:0"),
        ("USB Camera", "v4l2:/dev/video14"),
    ]


def test_a_machine_without_cameras_has_none(tmp_path: Path) -> None:
    assert find_local_cameras(tmp_path) == []
