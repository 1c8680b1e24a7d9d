"""A camera's file is replaced, and comes back if the daemon does not run with the new one."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from vedette.deploy.commands.configure import configure
from vedette.deploy.setup.configuration_change import change_camera
from vedette.runtime.commands.rollback import rollback
from vedette.runtime.config.configuration import load_config
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.installation.camera_bundle import last_good_file
from vedette.runtime.monitoring.status import request_status

SYSTEM_CALLS = ("fsync", "rename", "unlink", "write", "fchmod")
DRIVER = """
import sys
from pathlib import Path
from vedette.deploy.setup import configuration_change
configuration_change.check_content = lambda *_: None  # it starts a process of its own, and changes nothing
folder, new = Path(sys.argv[1]), Path(sys.argv[2])
configuration_change.change_camera(folder, "door", new.read_bytes(), 0, lambda *_: [])
"""


@pytest.fixture
def box(daemon_process, line_images):
    """A camera `door`, whose daemon does not run."""
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", daemon_process.no_broker)
    daemon_process.amend("outbox", "drain = 0.0")
    return daemon_process


def restart(box):
    """Restarts the daemon as systemd does."""

    def stop_and_start(*_):
        for process in box.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=60)
        box.start()
        return []

    return stop_and_start


def frames(box):
    report = request_status(load_config(box.folder, "door").state_folder)
    return 0 if report is None else report.frames


def test_a_running_camera_takes_a_good_file_and_leaves_one_without_frames(box, wait_until):
    old = box.camera_file.read_bytes()
    new = old + b"# another lamp\n"
    box.start()
    wait_until(lambda: (box.folder / "state" / "door").is_dir() and frames(box), "the first frame")
    assert change_camera(box.folder, "door", new, 0, restart(box)).state == "healthy"
    assert frames(box)
    assert (box.camera_file.read_bytes(), last_good_file(box.camera_file).read_bytes()) == (new, old)
    dark = new.replace(b"file:", b"rtsp://127.0.0.1:1/")
    with pytest.raises(ConfigProblem, match=r"no frame comes|does not run.*the file from before is back"):
        change_camera(box.folder, "door", dark, 0, restart(box), start_seconds=0.1)
    assert (box.camera_file.read_bytes(), last_good_file(box.camera_file).read_bytes()) == (new, old)
    wait_until(lambda: frames(box), "a frame with the file from before")


def test_a_file_that_the_daemon_would_refuse_changes_nothing(box):
    old = box.camera_file.read_bytes()
    for wrong, reason in (
        (b"source = 3\n", "source"),
        (old.replace(b'"presence"', b'"presents"'), "presents"),
        (old + b'labels = ["unicorn"]\n', "unicorn"),
    ):
        with pytest.raises(ConfigProblem, match=reason):
            change_camera(box.folder, "door", wrong, 0, restart(box))
    with pytest.raises(ConfigProblem, match="no such camera"):
        change_camera(box.folder, "yard", old, 0, restart(box))
    assert box.camera_file.read_bytes() == old
    assert not last_good_file(box.camera_file).exists()
    assert not box.processes


def test_the_command_names_what_is_left_and_rollback_goes_back(box, tmp_path):
    old, new = box.camera_file.read_bytes(), tmp_path / "new.toml"
    new.write_bytes(old + b"# new\n")
    box.camera_file.chmod(0o640)
    where = ["--camera", "door", "--config", str(box.folder)]
    done = CliRunner().invoke(configure, [str(new), *where], catch_exceptions=False)
    assert done.exit_code == 0
    assert "door: written" in done.output
    assert f"left to do: end the daemon of door, if it runs; then vedette run door --config {box.folder}" in done.output
    assert box.camera_file.read_bytes() == new.read_bytes()
    assert box.camera_file.stat().st_mode & 0o777 == 0o640
    again = CliRunner().invoke(configure, [str(new), *where], catch_exceptions=False)
    assert "door: unchanged" in again.output
    CliRunner().invoke(rollback, where, catch_exceptions=False)
    assert box.camera_file.read_bytes() == old


def test_a_wrong_file_is_not_kept_as_the_last_good_one(box):
    good = box.camera_file.read_bytes()
    last = last_good_file(box.camera_file)
    last.write_bytes(b"# older\n" + good)
    box.camera_file.write_text("source = 3\n")
    change_camera(box.folder, "door", good, 0, lambda *_: [])
    assert box.camera_file.read_bytes() == good
    assert last.read_bytes() == b"# older\n" + good


def test_the_end_of_the_terminal_puts_the_file_back(box):
    old, calls = box.camera_file.read_bytes(), []

    def hang_up(*_):
        calls.append(box.camera_file.read_bytes())
        if len(calls) == 1:
            signal.raise_signal(signal.SIGHUP)  # for this thread, so that it is not delivered after the change
        return []

    with pytest.raises(KeyboardInterrupt):
        change_camera(box.folder, "door", old + b"# new\n", 0, hang_up)
    assert box.camera_file.read_bytes() == old
    assert calls == [old + b"# new\n", old]
    assert not last_good_file(box.camera_file).exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace")
def test_a_kill_at_every_system_call_leaves_the_old_file_or_the_new_one(box, tmp_path, record_proof):
    old = box.camera_file.read_bytes()
    new = tmp_path / "new.toml"
    new.write_bytes(old + b"# new\n" * 100)
    kills = halves = 0
    for call in SYSTEM_CALLS:
        for number in range(1, 40):
            box.camera_file.write_bytes(old)
            last_good_file(box.camera_file).unlink(missing_ok=True)
            inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
            program = [sys.executable, "-B", "-c", DRIVER, str(box.folder), str(new)]
            command = ["strace", "-qq", "-o", "/dev/null", *inject, *program]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            assert done.returncode in (0, -9, 137), done.stderr
            present, last = box.camera_file.read_bytes(), last_good_file(box.camera_file)
            is_whole = present == old or (present == new.read_bytes() and last.read_bytes() == old)
            halves += not is_whole or (last.exists() and last.read_bytes() != old)
            if done.returncode == 0:
                break
            kills += 1
    record_proof(kills, halves)
    assert not halves
    assert kills >= 8
