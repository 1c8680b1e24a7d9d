"""`vedette fleet` against real daemons: a release arrives over MQTT, is accepted, and is taken back."""

from __future__ import annotations

import threading

import pytest
from altered_bundles import sign_altered
from mosquitto import BINARY, Mosquitto

from vedette.runtime.installation.model_store import ModelStore

pytestmark = [
    pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto"),
    pytest.mark.slow,
]


def test_a_release_is_rolled_out_to_real_daemons_and_taken_back(
    daemon_process, classifier_process, run_vedette, key_folder, line_images, subscribe, tmp_path, wait_until
):
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    one, two, three = (
        sign_altered(tmp_path / f"weave-{release}.vedette", key_folder, release=release, **changes)
        for release, changes in ((1, {}), (2, {}), (3, {"threshold": 0.001}))
    )
    url, stopping = f"mqtt://127.0.0.1:{broker.port}", threading.Event()

    def serve(process):
        """Starts a daemon again whenever it ends, as a service manager does."""
        while not stopping.is_set():
            process.start().wait()

    boxes, threads = [], []
    for name, process in (("box", daemon_process), ("other", classifier_process)):
        process.configure(f"file:{line_images}?fps=4&loop=true", url)
        file = process.folder / "vedette.toml"
        file.write_text(file.read_text().replace('"box"', f'"{name}"'))
        done = run_vedette("install", one, "--camera", "door", "--config", process.folder)
        assert done.returncode == 0, done.stderr
        boxes.append(ModelStore(process.folder / "state"))
        threads.append(threading.Thread(target=serve, args=(process,), daemon=True))
        threads[-1].start()
    subscriber = subscribe(broker.port)
    fleet = ["--broker", url, "--prefix", "test", "--from", tmp_path]
    roll = ["--key", key_folder / "vedette.key", *fleet]
    install = ["--keys", key_folder, "--ring", "1,2", "--probation", "0.1", "--max-ms", "10000", *roll]

    def releases():
        return [store.find_model("weave").current for store in boxes]

    try:
        wait_until(
            lambda: run_vedette("fleet", "status", *fleet).stdout.count(" online") >= 2, "the boxes", seconds=120
        )
        done = run_vedette("fleet", "canary", two, "--file", tmp_path / "a.json", *install, seconds=600)
        assert (done.returncode, sorted(releases())) == (0, [1, 2]), done.stdout + done.stderr
        done = run_vedette("fleet", "install", two, "--file", tmp_path / "a.json", *install, seconds=600)
        assert (done.returncode, releases()) == (0, [2, 2]), done.stdout + done.stderr
        assert done.stdout.count("accepted") >= 1
        strict = ["--max-failed", "0", "--probation", "60"]
        done = run_vedette("fleet", "install", three, "--file", tmp_path / "b.json", *install, *strict, seconds=600)
        assert (done.returncode, releases()) == (1, [2, 2]), done.stdout + done.stderr
        assert "decides differently" in done.stdout, "the box rolled itself back, and said why"
        done = run_vedette("fleet", "rollback", "--file", tmp_path / "a.json", *roll, seconds=600)
        assert "has no release before" in done.stdout or releases() == [1, 1], done.stdout + done.stderr
        kinds = {event["type"] for event in subscriber.events}
        assert {"vedette.fleet.accepted", "vedette.fleet.installed", "vedette.model.accepted"} <= kinds
    finally:
        stopping.set()
        for process in (daemon_process, classifier_process):
            process.kill()
        broker.kill()
