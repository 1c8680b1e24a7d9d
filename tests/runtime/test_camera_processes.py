"""Several cameras in one service: each in its own process, started again by itself, watched and stopped together."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vedette.runtime.commands.status import request_statuses


def children(pid: int) -> list[int]:
    """Child processes, in the order in which they were started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def count_frames(folder: Path, camera: str) -> int:
    report = request_statuses(folder, camera)[camera]
    return report.frames if report else 0


def is_told(listener: socket.socket, message: bytes) -> bool:
    with contextlib.suppress(BlockingIOError):
        return message in listener.recv(100)
    return False


def reloaded(log: str) -> set[str]:
    """The cameras of which the log says that they reloaded."""
    return {line.split()[2].rstrip(":") for line in log.splitlines() if " reloaded: " in line}


@pytest.fixture
def systemd(tmp_path):
    """The socket on which systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "systemd"))
        listener.setblocking(False)
        yield listener


def test_cameras_fail_alone_and_stop_together(daemon_process, line_images, wait_until, systemd, tmp_path):
    folder = daemon_process.folder
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", "mqtt://127.0.0.1:1", backend="tflite")
    daemon_process.amend("outbox", "drain = 0.0")
    shutil.copy(daemon_process.camera_file, folder / "cameras" / "yard.toml")
    (folder / "cameras" / "broken.toml").write_text('source = "file:x"\nbundle = "none"\nrules = []\n')
    environment = {"NOTIFY_SOCKET": str(tmp_path / "systemd"), "WATCHDOG_USEC": "6000000"}
    group = daemon_process.start("broken:door", "yard", environment=environment)
    wait_until(lambda: count_frames(folder, "door") and count_frames(folder, "yard"), "both cameras to run")
    wait_until(lambda: is_told(systemd, b"READY=1"), "the service to be ready")
    assert "broken: ended with exit code 2; the other cameras go on" in daemon_process.log()

    door, yard = children(group.pid)
    os.kill(door, signal.SIGKILL)
    wait_until(lambda: len(children(group.pid)) == 2 and door not in children(group.pid), "the camera to start again")
    assert "door: ended with SIGKILL; it starts again" in daemon_process.log()
    assert yard in children(group.pid)

    os.kill(yard, signal.SIGSTOP)
    wait_until(lambda: "yard: makes no progress; it is killed" in daemon_process.log(), "the hang to be noticed")
    wait_until(lambda: count_frames(folder, "yard") and count_frames(folder, "door"), "both cameras to run again")

    group.send_signal(signal.SIGHUP)
    wait_until(lambda: reloaded(daemon_process.log()) == {"door", "yard"}, "both to reload")
    left = children(group.pid)
    group.send_signal(signal.SIGTERM)
    assert group.wait(timeout=60) == 0
    assert not [pid for pid in left if Path(f"/proc/{pid}").exists()]
    assert daemon_process.recorded() > 0


def test_recordings_end_and_the_worst_exit_code_stays(daemon_process, line_images):
    daemon_process.configure(f"file:{line_images}?fps=0", "stdout:")
    shutil.copy(daemon_process.camera_file, daemon_process.folder / "cameras" / "yard.toml")
    (daemon_process.folder / "cameras" / "broken.toml").write_text('source = "file:x"\nbundle = "none"\nrules = []\n')
    group = daemon_process.start("--all")
    output, _ = group.communicate(timeout=120)
    assert group.returncode == 2
    assert b"vedette.presence" in output
    assert "door: " in daemon_process.log()


def test_a_camera_must_be_named(run_vedette, tmp_path):
    assert run_vedette("run", "--config", tmp_path).returncode == 2
    done = run_vedette("run", "--all", "--config", tmp_path)
    assert (done.returncode, "no camera has a file" in done.stderr) == (2, True)


ONE_THAT_DOES_NOT_START = """
import time
from vedette.runtime.camera_processes import CameraProcesses
from vedette.runtime.errors import MachineProblem
from vedette.runtime.monitoring.systemd import SystemdNotifier

def run_camera(camera):
    if camera != "door":
        raise MachineProblem("no library is installed")
    SystemdNotifier().notify_ready()
    time.sleep(600)

CameraProcesses(["door", "y" * 200], run_camera).run()
"""


def test_a_camera_that_does_not_start_leaves_the_service_ready(wait_until, systemd, tmp_path):
    environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "systemd")}
    with subprocess.Popen([sys.executable, "-c", ONE_THAT_DOES_NOT_START], env=environment) as group:
        try:
            wait_until(lambda: is_told(systemd, b"READY=1"), "the service to be ready")
            assert children(group.pid)
        finally:
            group.terminate()
        assert group.wait(timeout=60) == 0
