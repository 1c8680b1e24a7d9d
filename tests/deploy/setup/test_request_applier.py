"""Requests to change a camera's file are applied, refused or taken back, whatever their user puts in the folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from vedette.deploy.setup import configuration_change, request_applier, request_files
from vedette.deploy.setup.hostile_text import read_without_root
from vedette.deploy.setup.request_applier import RequestApplier
from vedette.deploy.setup.request_files import RequestFiles
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.installation.camera_bundle import last_good_file
from vedette.runtime.installation.configuration import change_requests
from vedette.runtime.installation.configuration.change_requests import (
    is_waiting,
    read_result,
    request_change,
    requests_folder,
    results_folder,
)
from vedette.runtime.installation.configuration.permitted_changes import read_text

CAMERA = 'source = "file:none"\nbundle = "installed:weave"\n[[rules]]\nuse = "presence"\n'
NEW = CAMERA + "debounce = 3\n"
SYSTEM_CALLS = ("fsync", "rename", "unlink", "write", "fchmod")
DRIVER = """
import sys
from pathlib import Path
from vedette.deploy.setup import request_applier
request_applier._check_as_service = lambda *_: None  # it starts a process of its own, and changes nothing
request_applier.RequestApplier(Path(sys.argv[1]), 0, lambda *_: []).apply_all()
"""


class Box:
    """A configuration folder with the camera `door`, without a daemon; what the daemon would check is left out."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.state, self.restarts = folder, folder / "state", 0
        (folder / "cameras").mkdir(parents=True)
        self.state.mkdir()
        (folder / "vedette.toml").write_text('[device]\nname = "box"\n')
        self.file = folder / "cameras" / "door.toml"
        self.file.write_text(CAMERA)
        monkeypatch.setattr(request_applier, "_check_as_service", lambda *_: None)

    def restart(self, *_):
        self.restarts += 1
        return []

    def ask(self, text=NEW, camera="door", **more):
        return request_change(self.state, camera, text, "page", "ann", **more)

    def apply(self):
        return RequestApplier(self.folder, 0, self.restart).apply_all()

    def outcome(self, identity):
        result = read_result(self.state, identity)
        return result and (result.outcome, result.reason)


@pytest.fixture
def box(tmp_path, monkeypatch):
    return Box(tmp_path / "box", monkeypatch)


def test_a_request_changes_rules_and_its_result_says_so(box):
    identity = box.ask()
    assert is_waiting(box.state, identity)
    assert read_result(box.state, identity) is None
    (result,) = box.apply()
    assert read_result(box.state, identity) == result
    assert (result.outcome, result.changed, result.by, result.origin) == ("applied", ("rules",), "ann", "page")
    assert (box.file.read_text(), last_good_file(box.file).read_text(), box.restarts) == (NEW, CAMERA, 1)
    assert (results_folder(box.state) / f"{identity}.json").stat().st_mode & 0o777 == 0o644
    assert not list(requests_folder(box.state).iterdir())
    assert sorted(each.name for each in box.file.parent.iterdir()) == [
        ".requests.lock",
        "door.toml",
        "door.toml.last",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CAMERA.replace("file:none", "rtsp://elsewhere/1"), "may not change source"),
        (CAMERA.replace("installed:weave", "/tmp/mine.vedette"), "may not change bundle"),
        (CAMERA.replace("installed:weave", "weave.vedette"), "may not change bundle"),
        ('username = "eve"\n' + CAMERA, "may not change username"),
        ('password_file = "/etc/shadow"\n' + CAMERA, "may not change password_file"),
        ("max_pixels = 2000\nthreads = 8\n" + CAMERA, "may not change max_pixels, threads"),
        (CAMERA + '[evidence]\nthumbnail = "jpeg"\nurl = "https://eve/x"\n', "may not change evidence"),
        (CAMERA.replace('source = "file:none"\n', ""), "may not change source"),
        (CAMERA + '[privacy]\nfaces = "show"\n', "may not change privacy.faces"),
        (CAMERA + '[trigger]\nsource = "mqtt:"\n', "may not change trigger"),
        (CAMERA + '[privacy]\nmoved = "ignore"\n', "may not change privacy.moved"),
        ("source = " + "[" * 30_000, "not TOML"),
        ("a = " + "{a=" * 20_000, "not TOML"),
        ("\x00", "not TOML"),
    ],
)
def test_a_request_that_touches_anything_else_is_refused_as_a_whole(box, text, reason):
    identity = box.ask(text)
    box.apply()
    outcome, why = box.outcome(identity)
    assert outcome == "refused"
    assert reason in why
    assert (box.file.read_text(), box.restarts) == (CAMERA, 0)
    assert not last_good_file(box.file).exists()


LINE = """source = "file:none"
[trigger]
source = "mqtt:"
[[products]]
name = "left"
index = 1
bundle = "installed:weave"
"""


def test_thresholds_of_parts_may_change(box):
    box.file.write_text(LINE)
    changed = LINE + "threshold = 3.5\n"
    box.ask(changed)
    (result,) = box.apply()
    assert (result.outcome, result.changed) == ("applied", ("products",))
    box.ask(changed.replace("3.5", "4.5").replace("mqtt:", "modbus://10.0.0.7"))
    assert "may not change trigger" in box.apply()[0].reason
    box.ask(changed + '[[products]]\nname = "right"\nindex = 2\nbundle = "installed:cells"\n')
    assert "may not change products" in box.apply()[0].reason
    assert box.file.read_text() == changed


def test_an_installed_product_and_zones_may_change(box):
    text = CAMERA.replace("weave", "cells") + "[privacy]\nzones = [[[0.0, 0.0], [0.4, 0.0], [0.4, 0.3]]]\n"
    box.ask(text + "[gate]\nseconds = 2.0\n[tracker]\nkeep = 3.0\n")
    (result,) = box.apply()
    assert (result.outcome, result.changed) == ("applied", ("bundle", "gate", "privacy", "tracker"))


def test_what_the_daemon_would_refuse_is_refused(box, monkeypatch, key_folder):
    monkeypatch.undo()
    for text in (CAMERA + "labels = 3\n", CAMERA.replace("presence", "presents")):
        identity = box.ask(text)
        box.apply()
        assert box.outcome(identity)[0] == "refused"
    assert box.file.read_text() == CAMERA


def test_of_a_camera_the_last_request_counts(box):
    first, second = box.ask(CAMERA + "debounce = 1\n"), box.ask(CAMERA + "debounce = 2\n")
    yard = box.ask(camera="yard")
    box.apply()
    assert box.outcome(first) == ("refused", "a later request for this camera came")
    assert box.outcome(second) == ("applied", "")
    assert box.outcome(yard) == ("refused", "no camera yard; ")
    assert box.file.read_text() == CAMERA + "debounce = 2\n"


def test_a_request_is_bounded_when_it_is_made(box, monkeypatch):
    with pytest.raises(ConfigProblem, match="exceed"):
        box.ask("#" * (64 << 10) + "\n")
    for name in ("../door", "a/b", "", "."):
        with pytest.raises(ConfigProblem, match="not a request"):
            box.ask(camera=name)
    monkeypatch.setattr(change_requests, "MAX_WAITING", 1)
    box.ask()
    with pytest.raises(ConfigProblem, match="wait already"):
        box.ask()


def test_links_and_other_files_in_the_folder_are_neither_followed_nor_kept(box, tmp_path):
    """Nothing outside the folder is read, written or removed, and nothing is left that would start the unit again."""
    secret = tmp_path / "secret"
    secret.write_text(CAMERA + "# the secret\n")
    folder = requests_folder(box.state)
    kinds = ("symlink", "hard link", "fifo", "folder", "large", "head", "other name")
    asked = {kind: box.ask() for kind in kinds}
    paths = {kind: folder / f"{asked[kind]}.toml" for kind in kinds}
    for kind in kinds[:4]:
        paths[kind].unlink()
    paths["symlink"].symlink_to(secret)
    paths["hard link"].hardlink_to(secret)
    os.mkfifo(paths["fifo"])
    paths["folder"].mkdir()
    paths["large"].write_bytes(b"#" * 100_000)
    paths["head"].with_suffix(".json").unlink()
    paths["head"].with_suffix(".json").symlink_to(secret)
    head = paths["other name"].with_suffix(".json")
    head.write_text(head.read_text().replace(asked["other name"], "0" * 32))
    (folder / "x.json").mkdir()
    (folder / "x.json" / "y").write_text("")
    (folder / ("f" * 32 + ".json")).write_text("{")
    assert {result.outcome for result in box.apply()} == {"refused"}
    assert not list(folder.glob("*.json"))
    assert secret.read_text() == CAMERA + "# the secret\n"
    assert secret.stat().st_nlink == 1
    assert box.file.read_text() == CAMERA
    assert not any("secret" in path.read_text() for path in results_folder(box.state).iterdir())


@pytest.mark.parametrize("which", ["configuration", "requests", "results"])
def test_folders_that_are_links_are_refused(box, tmp_path, which):
    box.ask()
    where = {"configuration": requests_folder(box.state).parent, "requests": requests_folder(box.state)}
    path = where.get(which, results_folder(box.state))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MachineProblem, match="configuration"):
        box.apply()
    assert box.file.read_text() == CAMERA


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root gives files away")
def test_a_file_of_another_user_is_refused(box):
    identity = box.ask()
    os.chown(box.state, 4321, 4321)
    for path in requests_folder(box.state).iterdir():
        os.chown(path, 1234, 1234)
    box.apply()
    assert "belongs to another user" in box.outcome(identity)[1]


def test_requests_that_change_under_the_reader_never_give_a_mixture(box):
    """Another process swaps files for links and back while requests are applied."""
    stop, folder = threading.Event(), requests_folder(box.state)
    box.ask()

    def swap():
        while not stop.is_set():
            for path in list(folder.glob("*.toml")):
                with contextlib.suppress(OSError):
                    path.unlink()
                    path.symlink_to("/etc/passwd")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(20):
            box.ask()
            assert {result.outcome for result in box.apply()} <= {"applied", "refused"}
            assert box.file.read_text() in (CAMERA, NEW)
    finally:
        stop.set()
        thread.join()


def test_results_are_kept_in_number(box, monkeypatch):
    monkeypatch.setattr(request_files, "MAX_RESULTS", 3)
    identities = []
    for number in range(5):
        identities.append(box.ask(CAMERA + f"debounce = {number + 1}\n"))
        box.apply()
        time.sleep(0.01)
    assert [read_result(box.state, each) is not None for each in identities] == [False, False, True, True, True]
    assert read_result(box.state, "../" + identities[-1]) is None


def test_the_reader_of_hostile_text_has_neither_root_nor_files_nor_time(tmp_path):
    def look():
        with pytest.raises(OSError, match=r"Operation not permitted|Permission denied"):
            (tmp_path / "new").write_text("x")
        user = str(os.geteuid())
        with pytest.raises(OSError, match="Operation not permitted"):
            socket.socket()
        return (user, str(os.getgroups()))

    user, groups = read_without_root(look)
    assert user != "0"
    assert os.geteuid() != 0 or groups == "[]"

    def fill():
        return ("x" * len([bytes(1 << 20) for _ in range(10_000)]),)

    def spin():
        while True:
            pass

    with pytest.raises(ConfigProblem, match="too long or too much memory"):
        read_without_root(fill)
    with pytest.raises(ConfigProblem, match="too long or too much memory"):
        read_without_root(spin, cpu_seconds=1)
    with pytest.raises(ConfigProblem, match="too long or too much memory"):
        read_without_root(lambda: time.sleep(60) or (), clock_seconds=0.1)
    with pytest.raises(ConfigProblem, match="x: not TOML"):
        read_without_root(lambda: tuple(read_text("=", "x")))


def test_a_change_that_was_cut_off_is_taken_back(box, monkeypatch):
    """The machine loses power while the daemon is watched: at the next start the file from before comes back."""
    identity = box.ask()

    def cut_off(*_):
        os._exit(9)

    if not (process := os.fork()):
        RequestApplier(box.folder, 0, cut_off).apply_all()
    os.waitpid(process, 0)
    assert box.file.read_text() == NEW
    assert is_waiting(box.state, identity)
    (result,) = box.apply()
    assert (result.id, result.outcome) == (identity, "rolled_back")
    assert "cut off" in result.reason
    assert (box.file.read_text(), box.restarts) == (CAMERA, 1)
    assert box.apply() == []


def test_where_no_service_is_the_request_is_applied_by_a_process(box, wait_until, key_folder):
    identity = box.ask(CAMERA.replace("file:none", "file:other"), folder=box.folder)
    wait_until(lambda: read_result(box.state, identity), "the result")
    assert box.outcome(identity)[0] == "refused"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace")
def test_a_kill_at_every_system_call_of_the_applier(box, record_proof):
    """Whole files only; the next run ends every request with a result, and the file is the one that the result says."""
    kills = halves = 0
    for call in SYSTEM_CALLS:
        for number in range(1, 60):
            box.file.write_text(CAMERA)
            last_good_file(box.file).unlink(missing_ok=True)
            identity = box.ask()
            inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
            program = [sys.executable, "-B", "-c", DRIVER, str(box.folder)]
            command = ["strace", "-qq", "-o", "/dev/null", *inject, *program]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            assert done.returncode in (0, -9, 137), done.stderr
            present = box.file.read_text()
            halves += present not in (CAMERA, NEW)
            box.apply()
            result = read_result(box.state, identity)
            expected = {"applied": NEW, "rolled_back": CAMERA}
            halves += result is None or box.file.read_text() != expected.get(result.outcome)
            halves += is_waiting(box.state, identity) or (box.file.parent / "door.toml.change").exists()
            if done.returncode == 0:
                break
            kills += 1
    record_proof(kills, halves)
    assert not halves
    assert kills >= 15


def test_the_folder_of_results_is_no_way_to_other_files(box, tmp_path):
    identity = box.ask()
    target = tmp_path / "target"
    target.write_text("mine")
    (results_folder(box.state) / f"{identity}.json").symlink_to(target)
    box.apply()
    assert target.read_text() == "mine"
    with RequestFiles(box.state) as files:
        assert list(files.find()) == []


def test_the_command_tells_what_became_of_requests(box):
    box.ask(CAMERA.replace("file:none", "file:other"))
    command = [sys.executable, "-m", "vedette.runtime.cli", "configure", "--requests", "--json"]
    done = subprocess.run([*command, "--config", str(box.folder)], check=True, capture_output=True, text=True)
    assert [each["outcome"] for each in json.loads(done.stdout)] == ["refused"]
    assert configuration_change.START_SECONDS
