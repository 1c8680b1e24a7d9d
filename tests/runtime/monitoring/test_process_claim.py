"""A second daemon of a camera, or with its MQTT identity, is refused on the same machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import msgspec
import pytest

from vedette.runtime.config.configuration import load_config
from vedette.runtime.errors import MachineProblem
from vedette.runtime.monitoring import process_claim
from vedette.runtime.monitoring.process_claim import claim_camera


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text(f"[device]\nname='box{os.getpid()}'\n")
    (tmp_path / "cameras" / "door.toml").write_text("source='file:x'\nbundle='x'\n[[rules]]\nuse='presence'\n")
    return load_config(tmp_path, "door")


def test_state_folder_is_claimed_once(settings, tmp_path):
    stdout = msgspec.structs.replace(settings, broker=msgspec.structs.replace(settings.broker, url="stdout:"))
    with claim_camera(stdout):
        with (
            pytest.raises(MachineProblem, match=f"process {os.getpid()} .* has the state folder") as caught,
            claim_camera(stdout),
        ):
            pass
        assert "systemctl stop vedette@door" in caught.value.hint
        (tmp_path / "link").symlink_to(settings.state.parent)
        linked = msgspec.structs.replace(stdout, state=tmp_path / "link" / settings.state.name)
        with pytest.raises(MachineProblem), claim_camera(linked):
            pass
        other = msgspec.structs.replace(stdout, camera="yard")
        with claim_camera(other):
            pass
    with claim_camera(stdout):
        pass


def test_mqtt_identity_is_claimed_once_whatever_the_state_folder(settings, tmp_path):
    elsewhere = msgspec.structs.replace(settings, state=tmp_path / "elsewhere")
    other_port = msgspec.structs.replace(elsewhere.broker, url="mqtt://localhost:1884")
    with claim_camera(settings):
        with pytest.raises(MachineProblem, match="MQTT client name"), claim_camera(elsewhere):
            pass
        with claim_camera(msgspec.structs.replace(elsewhere, broker=other_port)):
            pass


def test_service_is_not_kept_from_starting_by_another_user(settings, monkeypatch, caplog):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setattr(process_claim, "_find_holder", lambda _: process_claim.Holder(4711, os.geteuid() + 1))
    with claim_camera(settings):
        with claim_camera(settings):
            assert "4711" in caplog.text
        monkeypatch.setattr(process_claim, "_find_holder", lambda _: process_claim.Holder(4711, os.geteuid()))
        with pytest.raises(MachineProblem), claim_camera(settings):
            pass


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_ordinary_user_is_refused_beside_the_service(daemon_process, line_images, wait_until):
    """The user cannot even see the state folder's files, and would start with events in memory."""
    daemon_process.configure(f"file:{line_images}?fps=5&loop=true", "mqtt://127.0.0.1:1")
    daemon_process.start()
    wait_until(daemon_process.outbox.exists, "the outbox")
    code = (
        "import sys; from pathlib import Path; from vedette.runtime.monitoring import process_claim as p\n"
        "from vedette.runtime.config import configuration as c\n"
        f"settings = c.load_config(Path({str(daemon_process.folder)!r}), 'door')\n"
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "with p.claim_camera(settings): print('claimed')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "claimed" not in done.stdout
    assert f"process {daemon_process.processes[0].pid} of the user" in done.stderr


def test_second_start_by_hand_exits_4(daemon_process, line_images, wait_until, run_vedette):
    daemon_process.configure(f"file:{line_images}?fps=5&loop=true", "mqtt://127.0.0.1:1")
    first = daemon_process.start()
    wait_until(daemon_process.outbox.exists, "the outbox")
    done = run_vedette("run", "door", "--config", daemon_process.folder)
    assert done.returncode == 4
    assert f"process {first.pid}" in done.stderr
    assert "remedy" in done.stderr
    first.kill()
    first.wait()
    second = daemon_process.start()
    wait_until(lambda: "frames" in daemon_process.log() or second.poll() is None, "the next start")
    assert second.poll() is None, "a killed process keeps nothing"
