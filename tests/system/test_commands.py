"""The command line as its user meets it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from vedette.runtime.cli import DEVICE, WORKSHOP
from vedette.runtime.cli import vedette as group


@pytest.mark.parametrize("verb", ["", *DEVICE, *WORKSHOP])
def test_every_verb_explains_itself(verb):
    done = CliRunner().invoke(group, [verb, "--help"] if verb else ["--help"])
    assert done.exit_code == 0
    assert "Usage:" in done.output
    assert all(each in done.output for each in (DEVICE | WORKSHOP if not verb else ()))


def test_an_unknown_verb_is_refused(vedette):
    done = vedette("dance")
    assert done.returncode == 2
    assert "No such command 'dance'" in done.stderr


def test_a_device_without_the_workshop_says_what_to_install(tmp_path, vedette):
    (tmp_path / "msgspec_blocker.py").write_text("")
    (tmp_path / "jinja2.py").write_text("raise ModuleNotFoundError(\"No module named 'jinja2'\", name='jinja2')")
    done = vedette("build", "goal.toml", "--out", tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 4
    assert "build needs the workshop, and jinja2 is missing" in done.stderr
    assert "pip install 'vedette[compress]'" in done.stderr


def test_verify_measures_through_the_runtime(built, product, key_folder, vedette):
    done = vedette("verify", built.bundle, "--data", product, "--keys", key_folder, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["verified"]
    assert set(report["golden"]) == {"onnx", "tflite"}
    assert all(each["max_steps"] <= 1 for each in report["golden"].values())
    assert (report["good"], report["defect"]) == (60, 12)
    assert report["auroc_int8_onnx"] > 0.95
    assert abs(report["auroc_int8_onnx"] - report["auroc_int8_tflite"]) < 0.02
    text = vedette("verify", built.bundle, "--keys", key_folder)
    assert "golden outputs reproduced" in text.stdout


def test_verify_names_a_missing_folder(built, product, key_folder, vedette, tmp_path):
    missing = "good"
    shutil.copytree(product, tmp_path / "data", ignore=shutil.ignore_patterns(missing))
    done = vedette("verify", built.bundle, "--data", tmp_path / "data", "--keys", key_folder)
    assert done.returncode == 2
    assert f"{tmp_path / 'data' / missing}: no such folder" in done.stderr


def test_verify_needs_no_defects(built, product, key_folder, vedette, tmp_path):
    shutil.copytree(product / "good", tmp_path / "data" / "good")
    done = vedette("verify", built.bundle, "--data", tmp_path / "data", "--keys", key_folder, "--json")
    report = json.loads(done.stdout)
    assert set(report["false_alarm_rate"]) == {"onnx", "tflite"}
    assert "auroc_int8_onnx" not in report


def test_show_prints_the_signed_manifest(built, key_folder, vedette):
    done = vedette("show", built.bundle, "--keys", key_folder, "--json")
    manifest = json.loads(done.stdout)
    assert manifest["format"] == 1
    assert manifest["name"] == "weave"
    assert manifest["input"] | {"mean": 127.0, "std": 128.0, "scale": 1 / 128, "zero_point": 127} == manifest["input"]
    assert {source["licence"] for source in manifest["weights"]} == {"Apache-2.0"}
    text = vedette("show", built.bundle, "--keys", key_folder)
    assert "signature and digests verified" in text.stdout
    assert vedette("show", built.bundle, "--keys", key_folder / "nowhere").returncode == 2


def test_a_mask_that_does_not_fit_is_said_before_anything_is_fitted(product, tmp_path, vedette):
    spoilt = min((product / "defect").iterdir())
    (tmp_path / "mask").mkdir()
    cv2.imwrite(str(tmp_path / "mask" / f"{spoilt.stem}.png"), np.full((40, 400), 255, np.uint8))
    text = (product / "goal.toml").read_text().replace("[data]", '[data]\nmask = "mask"')
    for label in ("good", "defect"):
        text = text.replace(f'"{label}"', f'"{product}/{label}"')
    (tmp_path / "goal.toml").write_text(text)
    done = vedette("build", tmp_path / "goal.toml", "--out", tmp_path / "out", HOME=str(tmp_path), XDG_CONFIG_HOME="")
    assert done.returncode == 2
    assert f"{spoilt.stem}.png: 400 x 40 does not fit its image" in done.stderr
    assert "fitting" not in done.stderr
    assert not list((tmp_path / "out").glob("*"))


def test_a_missed_goal_exits_1_and_still_gives_the_bundle(product, tmp_path, vedette):
    goal = tmp_path / "goal.toml"
    text = (
        (product / "goal.toml")
        .read_text()
        .replace('"good"', f'"{product}/good"')
        .replace('"defect"', f'"{product}/defect"')
    )
    goal.write_text(text.replace("[goal]", "[goal]\nmax_bytes = 1000"))
    done = vedette("build", goal, "--out", tmp_path / "out", "--json", HOME=str(tmp_path), XDG_CONFIG_HOME="")
    assert done.returncode == 1, done.stderr
    facts = json.loads(done.stdout)
    assert not facts["goal_met"]
    assert re.match(r"max_bytes: asked 1,000, found [\d,]+, missed by [\d,]+", facts["missed"][0])
    shown = vedette("show", facts["bundle"], "--json", HOME=str(tmp_path), XDG_CONFIG_HOME="")
    assert shown.returncode == 0, "signed with the user's own key, which the user trusts: " + shown.stderr
    assert json.loads(shown.stdout)["goal_met"] is False
    assert (tmp_path / ".config" / "vedette" / "keys" / "workshop.key").stat().st_mode & 0o777 == 0o600


def test_the_report_is_whole_and_tells_no_paths(built, bundle, product):
    page = bundle.members["report.html"].decode()
    assert built.report.read_text() == page
    assert "The goal is met." in page
    assert not re.search(r'(src|href)="(?!data:)', page), "nothing is fetched from elsewhere"
    facts = json.loads(bundle.members["report.json"])
    used = facts["split"]
    assert sum(len(used[part]) for part in ("fit", "calibrate", "threshold", "test")) == 60
    for member in bundle.members.values():
        assert str(product).encode() not in member
        assert str(built.bundle.parent).encode() not in member
        assert b"site-packages" not in member


def test_doctor_tells_what_works(device, line, broker, vedette):
    plain = vedette("doctor", "--json")
    findings = {each["what"]: each for each in json.loads(plain.stdout)}
    assert findings["onnxruntime"]["works"]
    assert findings["ai-edge-litert"]["works"]
    assert "cores" in findings["machine"]["found"]

    device.configure(f"file:{line}", f"mqtt://127.0.0.1:{broker.port}")
    away = vedette("doctor", "--config", device.folder, "--json")
    findings = {each["what"]: each for each in json.loads(away.stdout)}
    assert away.returncode == 1
    assert findings["broker"]["works"] is False
    assert findings["door"]["works"] is True
    assert "120 x 120" in findings["door"]["found"]
    broker.start()
    assert vedette("doctor", "door", "--config", device.folder).returncode == 0


@pytest.mark.parametrize("arguments", [("f",), ("f/x",), ("new", "--name", "a/b"), ("new", "--name", "")])
def test_keygen_says_what_is_wrong(tmp_path, vedette, arguments):
    (tmp_path / "f").write_text("a file")
    done = vedette("keygen", tmp_path / arguments[0], *arguments[1:])
    assert done.returncode == 2
    assert "remedy" in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("broker", ["mqtt://localhost:99999", "stdout:", "mqtt://127.0.0.1:1", "foo"])
def test_the_demonstration_tries_its_broker_first(tmp_path, vedette, broker):
    done = vedette("demo", "--out", tmp_path / "demo", "--broker", broker)
    assert done.returncode in (2, 4)
    assert "remedy" in done.stderr
    assert "fitting" not in done.stderr


def test_an_interrupted_build_says_so(product, tmp_path):
    command = [sys.executable, "-m", "vedette.runtime.cli", "build", str(product / "goal.toml"), "--out", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"HOME": str(tmp_path)})
    for text in process.stderr:
        if "fitting" in text:
            process.send_signal(signal.SIGINT)
            break
    assert process.wait(30) == 130
    assert "interrupted" in process.stderr.read()
    assert not list(tmp_path.glob("weave*"))


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """The end of $NOTIFY_SOCKET that systemd holds; the watchdog wants to be fed every 0.2 s."""
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(address)
        ear.settimeout(30)
        yield ear


def test_systemd_is_told(device, line, systemd):
    """READY comes before anything is watched, WATCHDOG while frames come, STOPPING at the end."""
    device.configure(f"file:{line}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    process = device.start()
    heard = [systemd.recv(100).decode() for _ in range(4)]
    process.send_signal(signal.SIGTERM)
    while heard[-1] != "STOPPING=1":
        heard.append(systemd.recv(100).decode())
    assert heard[0] == "READY=1"
    assert set(heard[1:-1]) == {"WATCHDOG=1"}, "a broker that is away is healthy"


def test_no_frames_no_watchdog(device, line, systemd):
    """A source that stands still stops the pings: the watchdog is fed by progress, not by a timer."""
    device.configure(f"file:{line}?fps=0.1", "mqtt://127.0.0.1:1")
    device.start()
    assert systemd.recv(100) == b"READY=1"
    assert systemd.recv(100) == b"WATCHDOG=1"
    systemd.settimeout(1.5)
    with pytest.raises(TimeoutError):
        systemd.recv(100)
