"""No message shows a password, whatever characters it has; no URL may hold one."""

from __future__ import annotations

import random
import string
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
import pytest

from vedette.runtime import cli
from vedette.runtime.camera import sources
from vedette.runtime.camera.sources.network_stream import NetworkStream
from vedette.runtime.config.configuration import BrokerSettings, load_config
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.events import sinks
from vedette.runtime.redaction import redact

IDENTITY = sinks.MqttSessionSettings("x", ())


def passwords(count, alphabet=string.ascii_letters + string.digits + "#/?@:%[]&=+;,!$'()*~^|<>{}` \"\\-_."):
    """Passwords of 10 to 24 characters that every parser of URLs stumbles over; each has one that no message has."""
    rng = random.Random(16)
    return ["".join(rng.choices(alphabet, k=rng.randint(9, 23))) + "ß" for _ in range(count)]


def parts_of(password):
    """What would give the password away: it, and its halves, cut wherever a parser might cut it."""
    pieces = {password}
    for character in "#/?@:":
        pieces |= {piece for piece in password.split(character) if len(piece) > 5}
    return pieces


def shows(text, password):
    return [piece for piece in parts_of(password) if piece in text]


@pytest.mark.parametrize(
    "form",
    [
        "rtsp://admin:{}@cam.local:554/stream1",
        "source rtsp://admin:{}@cam.local/stream1?channel=1: after #: unknown",
        "mqtt://box:{}@broker:1883 refused the connection",
        "https://{}@store.example/bucket",
        "cannot read http://cam/video?user=admin&password=PARAMETER",
    ],
)
def test_no_password_is_left_in_a_message(form):
    for password in passwords(1000):
        query = password.translate({ord(each): None for each in "&;# '\""})
        text = form.format(password).replace("PARAMETER", query)
        secret = query if "PARAMETER" in form else password
        assert not shows(redact(text), secret), redact(text)


def test_redaction_leaves_everything_else():
    for text in (
        "rtsp://cam.local/stream1: it does not answer",
        "write rtsp://user:password@host",
        "not of the form ssh://user@host",
        "mail to a@b.example",
        "file:parts?fps=5",
        "http://cam/video?size=vga&fps=5",
    ):
        assert redact(text) == text
    assert redact("rtsp://admin:secret@cam.local/x failed") == "rtsp://…@cam.local/x failed"


@pytest.fixture
def device(tmp_path):
    """A folder of a device; writes its files, and returns the folder."""

    def write(source="file:parts", broker="mqtt://localhost", more="", camera=""):
        (tmp_path / "cameras").mkdir(exist_ok=True)
        quoted = ["'''" + each + "'''" if "'''" not in each else None for each in (source, broker)]
        (tmp_path / "vedette.toml").write_text(f"[broker]\nurl = {quoted[1]}\n{more}")
        text = f"source = {quoted[0]}\nbundle = 'x'\n{camera}[[rules]]\nuse = 'presence'\n"
        (tmp_path / "cameras" / "door.toml").write_text(text)
        return tmp_path

    return write


def problem_of(action):
    with pytest.raises(ConfigProblem) as caught:
        action()
    return f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("form", ["rtsp://admin:{}@cam.local/stream1#fps=5", "https://{}@cam.local/video.mjpg"])
def test_source_with_a_login_is_refused_with_the_remedy(form, device):
    for password in passwords(1000):
        settings = load_config(device(source=form.format(password)), "door")
        text = problem_of(lambda settings=settings: sources.load_source(sources.SourceAddress.from_config(settings)))
        assert "password_file" in text
        assert not shows(text, password), text


def test_broker_with_a_login_is_refused_with_the_remedy():
    for password in passwords(1000):
        broker = BrokerSettings(url=f"mqtt://box:{password}@broker.local:1883")
        text = problem_of(lambda broker=broker: sinks.load_sink(broker, IDENTITY))
        assert "broker.password_file" in text
        assert not shows(text, password), text


def test_evidence_target_with_a_login_is_refused_with_the_remedy(device):
    for password in passwords(300, string.ascii_letters + "#/?@:%[]&="):
        folder = device(camera=f"[evidence]\nurl = '''https://key:{password}@store.example/bucket'''\n")
        text = problem_of(lambda folder=folder: load_config(folder, "door"))
        assert "secret_key_file" in text
        assert not shows(text, password), text


def test_port_that_is_part_of_a_password_is_not_quoted():
    for password in ("hunter2", "abc[", "12x4"):
        text = problem_of(lambda url=f"mqtt://box:{password}": sinks.load_sink(BrokerSettings(url=url), IDENTITY))
        assert password not in text


def test_password_file_reaches_the_camera_unchanged(device, tmp_path):
    login = 'username = "ad:min"\npassword_file = "../password"\n'
    settings = load_config(device(source="rtsp://cam.local/stream1", camera=login), "door")
    for password in passwords(200):
        (tmp_path / "password").write_text(password)
        source = NetworkStream(sources.SourceAddress.from_config(settings))
        parts = urlsplit(source.spec["url"])
        assert (unquote(parts.username), unquote(parts.password)) == ("ad:min", password)
        assert parts.hostname == "cam.local"
        assert parts.path == "/stream1"


def test_path_of_a_recording_may_hold_any_character(device, tmp_path):
    (tmp_path / "a@b").mkdir()
    cv2.imwrite(str(tmp_path / "a@b" / "1.png"), np.zeros((8, 8, 3), np.uint8))
    settings = load_config(device(source=f"file://{tmp_path}/a@b"), "door")
    sources.load_source(sources.SourceAddress.from_config(settings))


def test_command_line_shows_no_password(capsys, monkeypatch):
    def fail(*_arguments, **_options):
        raise ConfigProblem("rtsp://admin:s3cr#t@cam: no", hint="remove rtsp://admin:s3cr#t@cam")

    monkeypatch.setattr(cli.vedette, "main", fail)
    with pytest.raises(SystemExit):
        cli.main(["status"])
    assert "s3cr" not in capsys.readouterr().err


def test_log_shows_no_password(capsys):
    cli._log_to_stderr(cli.logging.WARNING)
    try:
        cli.logging.getLogger("vedette.x").warning("no frames: %s", "rtsp://admin:s3cr#t@cam/x")
        text = capsys.readouterr().err
    finally:
        cli.logging.getLogger("vedette").handlers = []
    assert "rtsp://…@cam/x" in text
    assert "s3cr" not in text
