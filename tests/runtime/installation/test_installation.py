"""Installing on a device: a release is tried, taken by the running daemon, watched, accepted or rolled back."""

from __future__ import annotations

import json
import re
import signal
import sqlite3

import pytest
from altered_bundles import sign_altered, stored_bundle

from vedette.runtime.installation.model_store import ModelStore
from vedette.runtime.installation.probation_record import MAX_STARTS, ProbationRecord
from vedette.runtime.monitoring.status import request_status


class Device:
    """A daemon whose camera runs the installed product `weave`, and the commands on its configuration."""

    def __init__(self, process, run_vedette, key_folder, folder):
        self.process, self.run_vedette, self.key_folder, self.folder = process, run_vedette, key_folder, folder
        self.store = ModelStore(process.folder / "state")

    def bundle(self, release, **changes):
        return sign_altered(self.folder / f"weave-{release}.vedette", self.key_folder, release=release, **changes)

    def run(self, *arguments):
        return self.run_vedette(*arguments, "--config", self.process.folder)

    def install(self, release, *options, **changes):
        done = self.run("install", self.bundle(release, **changes), *options)
        assert done.returncode == 0, done.stderr
        return done

    def current(self):
        return self.store.find_model("weave").current

    def probation(self):
        return ProbationRecord(self.store, "weave").read()

    def serve(self, until, wait_until, starts=8):
        """Starts the daemon, and again whenever it ends, as a service manager does, until a condition holds."""
        for _ in range(starts):
            daemon = self.process.start()
            wait_until(lambda: until() or daemon.poll() is not None, "the daemon")  # noqa: B023
            if until():
                return daemon
        pytest.fail(f"ended {starts} times: {self.process.log()}")

    def model_events(self):
        with sqlite3.connect(f"file:{self.process.outbox}?mode=ro", uri=True) as database:
            bodies = [json.loads(row[0]) for row in database.execute("SELECT body FROM events ORDER BY sequence")]
        return [body for body in bodies if body["rule"] == "model"]


@pytest.fixture
def device(daemon_process, run_vedette, key_folder, line_images, tmp_path):
    daemon_process.configure(f"file:{line_images}?fps=0&loop=true", "mqtt://127.0.0.1:1")
    daemon_process.amend("outbox", "drain = 0.0")
    return Device(daemon_process, run_vedette, key_folder, tmp_path)


def stop(daemon):
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(timeout=60)


def test_a_release_is_installed_listed_and_left_again(device):
    done = device.install(1, "--camera", "door")
    assert "golden outputs reproduced" in done.stderr
    assert "run by: door; from its next start on" in done.stdout
    assert "left to do: end the daemon of door" in done.stderr
    assert "within seconds" not in done.stdout
    text = device.process.camera_file.read_text()
    assert 'bundle = "installed:weave"' in text
    assert "run by: door; a running daemon takes it within seconds" in device.install(2).stdout
    (model,) = json.loads(device.run("models", "--json").stdout)
    assert (model["current"], model["previous"], model["cameras"]) == (2, 1, ["door"])
    assert model["probation"]["outcome"] == "running"
    assert "release 1 is current" in device.run("rollback", "weave").stdout
    assert device.current() == 1
    device.run("rollback", "--camera", "door")
    assert str(device.process.bundle) in device.process.camera_file.read_text()


def test_a_release_that_ran_from_a_path_is_the_one_before(device):
    device.process.camera_file.write_text(
        device.process.camera_file.read_text().replace(str(device.process.bundle), str(device.bundle(4)))
    )
    device.install(5, "--camera", "door")
    model = device.store.find_model("weave")
    assert (model.current, model.previous) == (5, 4)
    assert device.probation().previous == 4


def test_a_bundle_that_does_not_run_is_not_installed(device):
    device.install(1, "--camera", "door")
    score = stored_bundle().members["golden/score.npy"]
    wrong = bytes([score[-1] ^ 0x7F])
    path = sign_altered(
        device.folder / "bad.vedette", device.key_folder, {"golden/score.npy": score[:-1] + wrong}, release=2
    )
    done = device.run("install", path)
    assert (done.returncode, device.current()) == (3, 1)
    assert "golden outputs are not reproduced" in done.stderr


def test_the_running_daemon_takes_a_release_and_accepts_it(device, wait_until):
    device.install(1, "--camera", "door")
    daemon = device.serve(lambda: device.process.recorded() >= 2, wait_until)
    device.install(2, "--probation", "0.02")
    assert daemon.wait(timeout=60) == 75
    accepted = device.serve(lambda: device.probation().outcome == "accepted" and device.probation().told, wait_until)
    stop(accepted)
    assert [event["kind"] for event in device.model_events()] == ["accepted"]
    assert device.current() == 2


@pytest.mark.slow
def test_a_release_that_decides_differently_is_rolled_back(device, wait_until):
    device.install(1, "--camera", "door")
    device.install(2, "--probation", "60", threshold=0.001)
    daemon = device.serve(lambda: bool(device.probation().told), wait_until)
    stop(daemon)
    (event,) = device.model_events()
    assert event["kind"] == "rolled_back"
    assert "decides differently" in event["facts"]["reason"]
    assert device.current() == 1


def test_a_release_that_ends_the_daemon_is_rolled_back_at_the_next_start(device, wait_until):
    device.install(1, "--camera", "door")
    device.install(2, "--probation", "60", "--max-ms", "10000")
    for number in range(MAX_STARTS):
        daemon = device.process.start()
        wait_until(lambda: device.probation().starts.get("door") == number + 1, "the start to be counted")  # noqa: B023
        daemon.kill()
        daemon.wait()
    stop(device.serve(lambda: bool(device.probation().told), wait_until))
    assert device.current() == 1
    assert "ended 3 times" in device.probation().reason


@pytest.mark.slow
def test_a_release_that_is_too_slow_is_rolled_back(device, wait_until):
    device.install(1, "--camera", "door")
    device.install(2, "--probation", "60", "--max-ms", "0.0001", "--band", "0.99")
    stop(device.serve(lambda: bool(device.probation().told), wait_until))
    assert device.current() == 1
    assert "are allowed" in device.probation().reason


@pytest.mark.slow
def test_a_release_as_fast_as_the_one_before_stays_on_a_slow_machine(device, wait_until):
    """Both take longer than the goal of the build: going back would not help."""
    device.install(1, "--camera", "door")
    device.install(2, "--probation", "60", "--band", "0.99", goal={"max_ms": 0.0001})
    daemon = device.process.start()
    state = device.process.outbox.parent

    def compared():
        report = request_status(state)
        return int(re.search(r" of (\d+) decided", report.probation)[1]) if report and report.probation else 0

    wait_until(lambda: compared() >= 40, "four looks at the times")
    assert daemon.poll() is None
    assert (device.current(), device.probation().outcome) == (2, "running")
    stop(daemon)


@pytest.mark.slow
def test_a_release_that_cannot_be_opened_is_rolled_back_at_once(device, wait_until):
    device.install(1, "--camera", "door")
    device.install(2, "--probation", "60")
    device.store.bundle_path("weave").write_bytes(b"damaged on the disk")
    daemon = device.process.start()
    assert daemon.wait(timeout=60) == 75
    assert device.current() == 1
    assert device.probation().outcome == "rolled back"
