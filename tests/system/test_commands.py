"""The command line: help, exit codes, messages, and what each command prints."""

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
from products import write_goal_for

from vedette.runtime.cli import DEPLOY_COMMANDS, DEVICE_COMMANDS, WORKSHOP_COMMANDS
from vedette.runtime.cli import vedette as group


@pytest.mark.parametrize("verb", ["", *DEVICE_COMMANDS, *DEPLOY_COMMANDS, *WORKSHOP_COMMANDS])
def test_every_command_has_help(verb):
    done = CliRunner().invoke(group, [verb, "--help"] if verb else ["--help"])
    assert done.exit_code == 0
    assert "Usage:" in done.output
    assert all(
        each in done.output for each in (DEVICE_COMMANDS | DEPLOY_COMMANDS | WORKSHOP_COMMANDS if not verb else ())
    )


def test_unknown_command_is_refused(run_vedette):
    done = run_vedette("dance")
    assert done.returncode == 2
    assert "No such command 'dance'" in done.stderr


def test_missing_build_dependency_names_the_package(anomaly_images, tmp_path, run_vedette):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    goal = anomaly_images / "goal.toml"
    done = run_vedette("build", goal, "--out", tmp_path / "out", PYTHONPATH=str(tmp_path))
    assert done.returncode == 4
    assert "build needs the workshop, and torch is missing" in done.stderr
    assert "pip install 'vedette[compress]'" in done.stderr


def test_verify_measures_accuracy(anomaly_build, anomaly_images, key_folder, call_vedette):
    done = call_vedette("verify", anomaly_build.bundle, "--data", anomaly_images, "--keys", key_folder, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["verified"]
    assert set(report["golden"]) == {"onnx", "tflite"}
    assert all(each["max_steps"] <= 1 for each in report["golden"].values())
    assert (report["good"], report["defect"]) == (60, 12)
    assert report["auroc_int8_onnx"] > 0.95
    assert abs(report["auroc_int8_onnx"] - report["auroc_int8_tflite"]) < 0.02
    assert set(report["p_values"]) == {"onnx", "tflite"}
    assert 0 < report["p_values"]["onnx"]["defect_median"] < 0.2
    text = call_vedette("verify", anomaly_build.bundle, "--keys", key_folder)
    assert "golden outputs reproduced" in text.stdout


def test_verify_names_missing_folder(anomaly_build, anomaly_images, key_folder, call_vedette, tmp_path):
    missing = "good"
    shutil.copytree(anomaly_images, tmp_path / "data", ignore=shutil.ignore_patterns(missing))
    done = call_vedette("verify", anomaly_build.bundle, "--data", tmp_path / "data", "--keys", key_folder)
    assert done.returncode == 2
    assert f"{tmp_path / 'data' / missing}: no such folder" in done.stderr


def test_verify_works_without_defective_images(anomaly_build, anomaly_images, key_folder, call_vedette, tmp_path):
    shutil.copytree(anomaly_images / "good", tmp_path / "data" / "good")
    done = call_vedette("verify", anomaly_build.bundle, "--data", tmp_path / "data", "--keys", key_folder, "--json")
    report = json.loads(done.stdout)
    assert set(report["false_alarm_rate"]) == {"onnx", "tflite"}
    assert "auroc_int8_onnx" not in report


def test_show_prints_signed_manifest(anomaly_build, key_folder, call_vedette):
    done = call_vedette("show", anomaly_build.bundle, "--keys", key_folder, "--json")
    manifest = json.loads(done.stdout)
    assert manifest["format"] == 1
    assert manifest["name"] == "weave"
    assert manifest["input"] | {"mean": 127.0, "std": 128.0, "scale": 1 / 128, "zero_point": 127} == manifest["input"]
    assert {source["licence"] for source in manifest["weights"]} == {"Apache-2.0"}
    text = call_vedette("show", anomaly_build.bundle, "--keys", key_folder)
    assert "signature and digests verified" in text.stdout
    assert call_vedette("show", anomaly_build.bundle, "--keys", key_folder / "nowhere").returncode == 2


def test_mask_of_wrong_shape_is_refused_before_training(anomaly_images, tmp_path, call_vedette):
    defective = min((anomaly_images / "defect").iterdir())
    (tmp_path / "mask").mkdir()
    cv2.imwrite(str(tmp_path / "mask" / f"{defective.stem}.png"), np.full((40, 400), 255, np.uint8))
    goal = write_goal_for(anomaly_images, tmp_path, ("[data]", '[data]\nmask = "mask"'))
    done = call_vedette("build", goal, "--out", tmp_path / "out", HOME=str(tmp_path), XDG_CONFIG_HOME="")
    assert done.returncode == 2
    assert f"{defective.stem}.png: 400 x 40 does not fit its image" in done.stderr
    assert "training" not in done.stderr
    assert not list((tmp_path / "out").glob("*"))


def test_missed_goal_exits_1_and_writes_the_bundle(anomaly_images, tmp_path, call_vedette):
    goal = write_goal_for(
        anomaly_images,
        tmp_path,
        ("[goal]", "[goal]\nmax_bytes = 1000"),
        ("[model]", '[model]\ndetector = "padim"'),
    )
    done = call_vedette("build", goal, "--out", tmp_path / "out", "--json", HOME=str(tmp_path), XDG_CONFIG_HOME="")
    assert done.returncode == 1, done.stderr
    facts = json.loads(done.stdout)
    assert not facts["goal_met"]
    assert re.match(r"max_bytes: asked 1,000, found [\d,]+, missed by [\d,]+", facts["missed"][0])
    shown = call_vedette("show", facts["bundle"], "--json", HOME=str(tmp_path), XDG_CONFIG_HOME="")
    assert shown.returncode == 0, "signed with the user's own key, which the user trusts: " + shown.stderr
    assert json.loads(shown.stdout)["goal_met"] is False
    assert (tmp_path / ".config" / "vedette" / "keys" / "workshop.key").stat().st_mode & 0o777 == 0o600


def test_report_is_complete_and_names_no_local_path(anomaly_build, anomaly_bundle, anomaly_images):
    page = anomaly_bundle.members["report.html"].decode()
    assert anomaly_build.report.read_text() == page
    assert "The goal is not proven" in page, "15 good test images do not prove a rate of 0.1"
    assert not re.search(r'(src|href)="(?!data:)', page), "nothing is fetched from elsewhere"
    facts = json.loads(anomaly_bundle.members["report.json"])
    used = facts["split"]
    left_out = len(facts["audit"]["unusual"])
    assert sum(len(used[part]) for part in ("fit", "calibrate", "threshold", "test")) == 60 - left_out
    for member in anomaly_bundle.members.values():
        assert str(anomaly_images).encode() not in member
        assert str(anomaly_build.bundle.parent).encode() not in member
        assert b"site-packages" not in member


def test_doctor_reports_each_check(daemon_process, line_images, broker, call_vedette):
    plain = call_vedette("doctor", "--json")
    findings = {each["what"]: each for each in json.loads(plain.stdout)}
    assert findings["onnxruntime"]["works"]
    assert findings["ai-edge-litert"]["works"]
    assert "cores" in findings["machine"]["found"]
    assert len([each for each in json.loads(plain.stdout) if each["what"] == "keys"]) == 1

    daemon_process.configure(f"file:{line_images}", f"mqtt://127.0.0.1:{broker.port}")
    away = call_vedette("doctor", "--config", daemon_process.folder, "--json")
    findings = {each["what"]: each for each in json.loads(away.stdout)}
    assert away.returncode == 1
    assert findings["broker"]["works"] is False
    assert findings["door"]["works"] is True
    assert "120 x 120" in findings["door"]["found"]
    assert findings["door bundle"]["works"] is True
    assert findings["door rules"] == {"what": "door rules", "works": True, "found": "presence"}
    assert len([each for each in json.loads(away.stdout) if each["what"] == "keys"]) == 1
    broker.start()
    fine = call_vedette("doctor", "door", "--config", daemon_process.folder)
    assert fine.returncode == 0
    assert "INFO" not in fine.stderr, "the log of a daemon"


@pytest.mark.parametrize("command", ["audit", "build", "demo"])
def test_workshop_command_on_a_device_says_what_to_install(command, anomaly_images, tmp_path):
    """Nothing but the device's packages is installed there."""
    blocker = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        first = name.split('.')[0]\n"
        "        if first in ('torch', 'onnx', 'optuna', 'scipy', 'sklearn', 'jinja2', 'imagehash', 'iotcore'):\n"
        "            raise ModuleNotFoundError(f'No module named {first!r}', name=first)\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "from vedette.runtime import cli; cli.main(sys.argv[1:])"
    )
    arguments = {
        "audit": [anomaly_images],
        "build": [anomaly_images / "goal.toml", "--out", tmp_path / "out"],
        "demo": ["--out", tmp_path / "demo"],
    }[command]
    command_line = [sys.executable, "-c", blocker, command, *map(str, arguments)]
    environment = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}
    done = subprocess.run(command_line, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert "pip install 'vedette[compress]'" in done.stderr


@pytest.mark.parametrize("arguments", [("f",), ("f/x",), ("new", "--name", "a/b"), ("new", "--name", "")])
def test_keygen_refuses_invalid_arguments(tmp_path, run_vedette, arguments):
    (tmp_path / "f").write_text("a file")
    done = run_vedette("keygen", tmp_path / arguments[0], *arguments[1:])
    assert done.returncode == 2
    assert "remedy" in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [(("[data]", "[data]\nbad = 1"), "bad"), (('good = "good"', 'good = "empty"'), "no images in it")],
)
def test_wrong_goal_is_reported_before_torch_is_imported(anomaly_images, tmp_path, run_vedette, change, message):
    (tmp_path / "torch.py").write_text('raise RuntimeError("torch was imported")')
    (tmp_path / "empty").mkdir()
    text = (anomaly_images / "goal.toml").read_text().replace(*change)
    (tmp_path / "goal.toml").write_text(
        text.replace('"good"', f'"{anomaly_images}/good"').replace('"defect"', f'"{anomaly_images}/defect"')
    )
    done = run_vedette("build", tmp_path / "goal.toml", "--out", tmp_path / "out", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert message in done.stderr


@pytest.mark.parametrize("broker", ["mqtt://localhost:99999", "stdout:", "mqtt://127.0.0.1:1", "foo"])
def test_demo_connects_to_the_broker_before_it_writes_images(tmp_path, run_vedette, broker):
    done = run_vedette("demo", "--out", tmp_path / "demo", "--broker", broker)
    assert done.returncode in (2, 4)
    assert "remedy" in done.stderr
    assert "writing images" not in done.stderr
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
def test_interrupted_build_exits_130(anomaly_images, tmp_path):
    command = [
        sys.executable,
        "-m",
        "vedette.runtime.cli",
        "build",
        str(anomaly_images / "goal.toml"),
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"HOME": str(tmp_path)})
    for text in process.stderr:
        if "training" in text:
            process.send_signal(signal.SIGINT)
            break
    assert process.wait(300) == 130
    assert "interrupted" in process.stderr.read()
    assert not list(tmp_path.glob("weave*"))


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """The receiving end of $NOTIFY_SOCKET; the watchdog timeout is 0.2 s."""
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.settimeout(30)
        yield receiver


def test_systemd_receives_ready_watchdog_and_stopping(daemon_process, line_images, systemd):
    """READY before the first frame, WATCHDOG while frames arrive, STOPPING at the end."""
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    process = daemon_process.start()
    messages = [systemd.recv(100).decode() for _ in range(4)]
    process.send_signal(signal.SIGTERM)
    while messages[-1] != "STOPPING=1":
        messages.append(systemd.recv(100).decode())
    assert messages[0] == "READY=1"
    assert set(messages[1:-1]) == {"WATCHDOG=1"}, "an absent broker is no reason to restart"


def test_watchdog_is_not_fed_without_frames(daemon_process, line_images, systemd):
    """The watchdog is fed by processed frames, not by a timer: a stalled source stops it."""
    daemon_process.configure(f"file:{line_images}?fps=0.1", "mqtt://127.0.0.1:1")
    daemon_process.start()
    assert systemd.recv(100) == b"READY=1"
    assert systemd.recv(100) == b"WATCHDOG=1"
    systemd.settimeout(1.5)
    with pytest.raises(TimeoutError):
        systemd.recv(100)
