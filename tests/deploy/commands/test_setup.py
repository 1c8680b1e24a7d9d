"""The verb as a user meets it: flags, questions, a second run, and the first event of a real daemon and broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mosquitto
import pytest
from camera import Camera
from certificates import issue_certificate
from click.testing import CliRunner, Result
from mosquitto import Mosquitto
from paths import TESTS
from products import texture_image
from waiting import wait_for

from vedette.deploy.commands import setup as command
from vedette.deploy.setup.camera_search import SearchResult
from vedette.deploy.setup.found_camera import FoundCamera
from vedette.runtime.bundle import keys
from vedette.runtime.config.configuration import load_config
from vedette.runtime.config.credentials import read_secret
from vedette.runtime.errors import Problem
from vedette.runtime.monitoring.doctor_checks import run_checks

V1 = TESTS / "bundles" / "v1"
PASSWORD = "a b#c"

pytestmark = pytest.mark.skipif(mosquitto.BINARY is None, reason="no mosquitto here")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """One that asks for a password."""
    folder = tmp_path / "broker"
    passwords = folder / "passwords"
    folder.mkdir()
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "box7", PASSWORD], check=True, capture_output=True)
    running = Mosquitto(folder, more=f"password_file {passwords}\n")
    running.config.write_text(running.config.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    running.start()
    yield running
    running.kill()


@pytest.fixture
def camera() -> Iterator[Camera]:
    """Every third part has a scratch."""
    running = Camera(lambda number: texture_image(1000 + number % 5, number % 3 == 2), fps=10)
    yield running
    running.close()


@pytest.fixture
def flags(tmp_path: Path, broker: Mosquitto, camera: Camera) -> list[str]:
    """All that must be known."""
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    return [
        *("--config", str(tmp_path / "etc"), "--device", "box7", "--broker", f"mqtt://127.0.0.1:{broker.port}"),
        *("--username", "box7", "--password-file", str(password), "--camera", "door", "--source", camera.url),
        *("--bundle", str(V1 / "weave.vedette"), "--key", str(V1 / "vedette.pub")),
        *("--picture", str(tmp_path / "door.jpg"), "--yes", "--wait", "0"),
    ]


def run(*arguments: str, answers: str = "") -> Result:
    result = CliRunner().invoke(command.setup, list(arguments), input=answers)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def tree(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_from_flags_to_the_first_event(flags: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    dry = run(*flags, "--dry-run")
    assert '+name = "box7"' in dry.stdout
    assert '+bundle = "installed:weave"' in dry.stdout
    assert f"{folder / 'state/models/weave/1/bundle.vedette'}: would be written" in dry.stdout
    assert PASSWORD not in dry.output
    assert not folder.exists()

    first = run(*flags)
    assert first.exit_code == 0
    assert (tmp_path / "door.jpg").read_bytes().startswith(b"\xff\xd8")
    assert f"saved as {tmp_path / 'door.jpg'}" in first.stderr
    assert f"left to do: vedette run door --config {folder}" in first.stdout
    assert all(check.works is not False for check in run_checks(folder, None)), "what the doctor says"
    assert load_config(folder, "door").installed == "weave", "as if it was installed, so that each update is alike"
    before = tree(folder)

    command_line = [sys.executable, "-m", "vedette.runtime.cli", "run", "door", "--config", str(folder)]
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(command_line, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        socket = folder / "state" / "door" / "status.sock"
        wait_for(socket.exists, "the daemon")
        second = json.loads(run(*flags, "--wait", "120", "--json").stdout)
        assert (second["changed"], second["events"][0]["works"]) == (False, True)
        assert ": vedette.presence." in second["events"][0]["text"]
        after = tree(folder)
        assert {path: after.get(path) for path in before} == before
        assert all(path in before or "state" in path.parts for path in after)
        doctor = {check.what: check for check in run_checks(folder, "door")}
        assert all(check.works is not False for check in doctor.values())
        assert "the daemon gets" in doctor["door"].found
    finally:
        daemon.terminate()
        daemon.wait()
    assert "can be read by" not in (tmp_path / "log").read_text(), "the daemon finds the secrets well kept"


def test_what_does_not_work_is_not_written(flags: list[str], tmp_path: Path, camera: Camera) -> None:
    def change(flag: str, value: str) -> list[str]:
        place = flags.index(flag) + 1
        return [*flags[:place], value, *flags[place + 1 :]]

    wrong = tmp_path / "wrong.pub"
    wrong.write_text("nonsense")
    issue_certificate(tmp_path, "authority")
    authority = tmp_path / "authority.pem"
    camera.mode = "refused"
    cases = [
        (change("--password-file", str(wrong)), "Not authorized"),
        (flags, "asks for a login"),
        (change("--key", str(wrong)), "not a public key"),
        (change("--bundle", str(wrong)), "wrong"),
        ([*flags, "--ca-file", str(wrong)], "not a certificate"),
        ([*flags, "--ca-file", str(authority)], "not encrypted"),
    ]
    for arguments, reason in cases:
        with pytest.raises(Problem) as raised:
            run(*arguments)
        assert reason in raised.value.message
        assert raised.value.hint
    assert not (tmp_path / "etc").exists()
    assert run(*change("--source", "v4l2:/dev/video77"), "--untried").exit_code == 0


def test_questions_are_asked_again_until_they_are_answered(
    tmp_path: Path, broker: Mosquitto, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = (FoundCamera("onvif", "Gate", service="http://127.0.0.1:9/onvif"), FoundCamera("mdns", "Yard", camera.url))
    monkeypatch.setattr(command, "_is_terminal", lambda: True)
    monkeypatch.setattr(command, "find_cameras", lambda _: SearchResult(found, ("no mDNS here",)))
    other = tmp_path / "other"
    answers = [
        *("bo x", "box7", "plant", "hall", ""),
        *("http://nowhere", f"mqtt://127.0.0.1:{broker.port}", "box7", "wrong", "n"),
        *("", "", PASSWORD),
        *("door", "1", "", "door", "9", "2", ""),
        *(
            "/nowhere.vedette",
            str(V1 / "weave.vedette"),
            str(tmp_path),
            "",
            str(other / "vedette.pub"),
            str(V1 / "vedette.pub"),
        ),
    ]
    folder = tmp_path / "etc"
    keys.generate_key_pair(other)
    picture = str(tmp_path / "p.jpg")
    done = run("--config", str(folder), "--picture", picture, "--wait", "0", answers="\n".join([*answers, ""]))
    assert done.exit_code == 0, done.output
    for text in ("is no name", "not a broker", "Not authorized", "does not answer", "unknown key", "did not sign"):
        assert text in done.stderr, text
    assert PASSWORD not in done.output
    assert len(list((folder / "keys").iterdir())) == 1, "a wrong answer makes no key a trusted one"
    settings = load_config(folder, "door")
    assert (settings.device.name, settings.device.area, settings.source) == ("box7", "hall", camera.url)
    assert read_secret(settings.broker.password_file, "") == PASSWORD


def test_answers_that_do_not_work_yet_may_be_kept(
    tmp_path: Path, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_is_terminal", lambda: True)
    folder, picture = tmp_path / "etc", str(tmp_path / "p.jpg")
    flags = ("--config", str(folder), "--device", "box7", "--site", "s", "--area", "a", "--line", "l", "--wait", "0")
    about_camera = ("--camera", "door", "--source", camera.url, "--camera-username", "", "--picture", picture)
    bundle = ("--bundle", str(V1 / "weave.vedette"), "--key", str(V1 / "vedette.pub"))
    done = run(*flags, *about_camera, *bundle, answers="mqtt://127.0.0.1:1\n\ny\n")
    assert "Connection refused" in done.stderr
    assert done.exit_code == 0, done.output
    assert load_config(folder, "door").broker.url == "mqtt://127.0.0.1:1"


def test_without_a_terminal_what_is_missing_is_named(tmp_path: Path) -> None:
    for arguments, flag in (([], "--source"), (["--source", "v4l2:/dev/video0"], "--bundle")):
        with pytest.raises(Problem, match=flag):
            run("--config", str(tmp_path / "etc"), *arguments)
    with pytest.raises(Problem, match="--consume"):
        run("--consume")


def test_a_seed_asks_nothing_and_may_be_kept(flags: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(command, "_is_terminal", lambda: True)
    values = dict(zip(flags[::2], flags[1::2], strict=False))
    seed, bundle = tmp_path / "box.seed", f"{os.path.relpath(V1, tmp_path)}/weave.vedette"
    key = (V1 / "vedette.pub").read_text()
    seed.write_text(
        f'[device]\nname = "box7"\n[broker]\nurl = "{values["--broker"]}"\nusername = "box7"\npassword = "{PASSWORD}"\n'
        f'[[cameras]]\nname = "door"\nsource = "{values["--source"]}"\nbundle = "{bundle}"\n'
        f'[keys]\n"vedette.pub" = """{key}"""\n'
    )
    done = run("--seed", str(seed), "--config", values["--config"], "--picture", str(tmp_path / "p.jpg"), "--wait", "0")
    assert done.exit_code == 0
    assert seed.exists()
    assert "written" in done.stdout
    taken = run("--seed", str(seed), "--config", values["--config"], "--consume")
    assert taken.stdout.startswith("ok: instance manual, device box7, cameras door\n")
    assert not seed.exists()
