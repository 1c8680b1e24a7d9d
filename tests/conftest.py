"""Fixtures of all tests: products and their bundles, a broker, a subscriber, a daemon, the command line."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from click.testing import CliRunner
from daemon_process import DaemonProcess
from message_schemas import check_messages
from mosquitto import Mosquitto
from paths import ROOT, TESTS
from products import write_anomaly_images, write_behaviour_videos, write_class_images
from proxy import Proxy
from rumqttd import RumqttdBroker
from shared_build import made_once
from squares import write_detection_images
from subscriber import Subscriber
from waiting import patience, wait_for

from vedette.runtime import cli
from vedette.runtime.bundle import keys
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.progress import Log, no_log

if TYPE_CHECKING:  # the workshop takes seconds to load, and most tests of the runtime need none of it
    from vedette.compress.build import BuildResult

# The same examples on every machine, however slow it is.
hypothesis.settings.register_profile("vedette", deadline=None, derandomize=True)
hypothesis.settings.load_profile("vedette")

BUILDS = {"build_bundle", "complete_search", "wheel"}
"""Fixtures that build, or search for seconds.

Tests that need one, if only through another fixture, are left out of `make test-fast`.
"""
SOURCE_CHECKS = {"test_documents.py", "test_layout.py", "test_lock_files.py", "test_schemas.py"}
"""Files of tests/system that read the sources and start no system."""
LONG_TESTS = {
    "test_real_data.py", "test_study.py", "test_area_offsets.py", "test_default_build.py", "test_privacy_zones.py"
}  # fmt: skip
"""Files with tests of ten seconds and more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that need a built bundle or a whole system as `build`, and runs the longest ones first.

    So no process works alone at the end on a long test.
    """
    items.sort(key=lambda item: item.path.name not in LONG_TESTS)
    for item in items:
        needs = set(getattr(item, "fixturenames", ()))
        is_system_test = item.path.is_relative_to(TESTS / "system") and item.path.name not in SOURCE_CHECKS
        if needs & BUILDS or is_system_test:
            item.add_marker(pytest.mark.build)


def _folder(write: Callable[[Path], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder)
        return folder

    return make


@pytest.fixture(autouse=True)
def signal_mask() -> Iterator[None]:
    """Commands block signals in the process that they get; tests that run or look up commands share one."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "keys", _folder(keys.generate_key_pair))


@pytest.fixture(scope="session")
def keyring(key_folder: Path) -> Keyring:
    return Keyring.read(key_folder)


@pytest.fixture(scope="session")
def build_bundle(key_folder: Path) -> Callable[..., BuildResult]:
    """Builds the bundle of a goal file in this process: goal file, folder, and what else the build may be told."""

    def run(goal_file: Path, out: Path, log: Log = no_log, **request: Any) -> BuildResult:
        from vedette.compress.build import BuildRequest, build

        key = keys.read_private_key(key_folder / "vedette.key")
        return build(BuildRequest(goal_file, out, key, **request), log=log)

    return run


@pytest.fixture(scope="session")
def build_once(
    build_bundle: Callable[..., BuildResult], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], BuildResult]:
    """The bundle of the goal file in a folder, built once for all processes of the test run."""
    return lambda data: made_once(
        tmp_path_factory, f"{data.name}-build", lambda out: build_bundle(data / "goal.toml", out)
    )


@pytest.fixture(scope="session")
def anomaly_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good/, defect/ and a goal file."""
    return made_once(tmp_path_factory, "texture", _folder(write_anomaly_images))


@pytest.fixture(scope="session")
def anomaly_build(anomaly_images: Path, build_once: Callable[[Path], BuildResult]) -> BuildResult:
    """The bundle of an anomaly model."""
    return build_once(anomaly_images)


@pytest.fixture(scope="session")
def anomaly_bundle(anomaly_build: BuildResult, keyring: Keyring) -> Bundle:
    return Bundle.open(anomaly_build.bundle, keyring)


@pytest.fixture(scope="session")
def behaviour_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos in normal/ and abnormal/, a long one with both, and a goal file."""
    return made_once(tmp_path_factory, "yard", _folder(write_behaviour_videos))


@pytest.fixture(scope="session")
def behaviour_build(behaviour_videos: Path, build_once: Callable[[Path], BuildResult]) -> BuildResult:
    """The bundle of a behaviour model."""
    return build_once(behaviour_videos)


@pytest.fixture(scope="session")
def behaviour_bundle(behaviour_build: BuildResult, keyring: Keyring) -> Bundle:
    return Bundle.open(behaviour_build.bundle, keyring)


@pytest.fixture(scope="session")
def class_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with kinds/good, kinds/scratch and kinds/spot, and a goal file."""
    return made_once(tmp_path_factory, "kinds", _folder(write_class_images))


@pytest.fixture(scope="session")
def class_build(class_images: Path, build_once: Callable[[Path], BuildResult]) -> BuildResult:
    """The bundle of a classifier."""
    return build_once(class_images)


@pytest.fixture(scope="session")
def class_bundle(class_build: BuildResult, keyring: Keyring) -> Bundle:
    return Bundle.open(class_build.bundle, keyring)


@pytest.fixture(scope="session")
def detection_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images/, labels/, coco.json, an object detector and a goal file."""
    return made_once(tmp_path_factory, "squares", _folder(write_detection_images))


@pytest.fixture(scope="session")
def detection_build(detection_images: Path, build_once: Callable[[Path], BuildResult]) -> BuildResult:
    """The bundle of an object detector."""
    return build_once(detection_images)


@pytest.fixture(scope="session")
def detection_bundle(detection_build: BuildResult, keyring: Keyring) -> Bundle:
    return Bundle.open(detection_build.bundle, keyring)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout; setuptools builds it in ROOT/build, so that no two processes may do so at once."""

    def build_wheel(folder: Path) -> Path:
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        (path,) = folder.glob("*.whl")
        return path

    return made_once(tmp_path_factory, "wheel", build_wheel)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RumqttdBroker]:
    """Not started yet."""
    broker = RumqttdBroker(tmp_path)
    yield broker
    broker.kill()


@pytest.fixture
def broker_proxy(broker: RumqttdBroker) -> Iterator[Proxy]:
    """A proxy in front of the broker, closed at first."""
    proxy = Proxy(broker.port, open=False)
    yield proxy
    proxy.close()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """Started."""
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def subscribe() -> Iterator[Callable[[int], Subscriber]]:
    """A subscriber to the broker at a port. What devices published must at last be as docs/schemas has it."""
    subscribers: list[Subscriber] = []

    def begin(port: int) -> Subscriber:
        subscribers.append(Subscriber(port))
        return subscribers[-1]

    yield begin
    for subscriber in subscribers:
        subscriber.client.disconnect()
        subscriber.client.loop_stop()
    for subscriber in subscribers:
        check_messages(subscriber.messages)


@pytest.fixture
def subscriber(broker: RumqttdBroker, subscribe: Callable[[int], Subscriber]) -> Subscriber:
    return subscribe(broker.port)


@pytest.fixture
def daemon_process(tmp_path: Path, anomaly_build: BuildResult, key_folder: Path) -> Iterator[DaemonProcess]:
    """A daemon with an anomaly model, not started yet."""
    device = DaemonProcess(tmp_path / "config", anomaly_build.bundle, key_folder)
    yield device
    device.kill()


@pytest.fixture
def classifier_process(tmp_path: Path, class_build: BuildResult, key_folder: Path) -> Iterator[DaemonProcess]:
    """A daemon with a classifier, not started yet."""
    device = DaemonProcess(tmp_path / "sorter", class_build.bundle, key_folder)
    yield device
    device.kill()


@pytest.fixture(scope="session")
def line_images(anomaly_build: BuildResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of frames as they pass the camera: two good parts, one defective, and so on for 30 parts.

    The good parts are those that the threshold was chosen on, so that none of them is a false alarm.
    """
    folder = tmp_path_factory.mktemp("line")
    good = [path for path in anomaly_build.split.threshold for _ in range(2)]
    for number in range(30):
        source = anomaly_build.split.defect[number // 3] if number % 3 == 2 else good[number % len(good)]
        (folder / f"{number:02d}.png").symlink_to(source)
    return folder


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Waits until a condition holds, or fails and names what was waited for."""
    return wait_for


@pytest.fixture(scope="session")
def run_vedette() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in a process of its own."""

    def run(*arguments: str | Path, seconds: float = 300.0, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vedette.runtime.cli", *map(str, arguments)]
        limit, variables = seconds * patience(), os.environ | environment
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit, env=variables)

    return run


@pytest.fixture(scope="session")
def call_vedette() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in this process: the same arguments and answers, without seconds of imports.

    For commands that end by themselves, and a daemon that refuses to start; `run_vedette` is for a daemon that
    runs, for signals, and for packages that must be missing.
    """

    def call(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        log, code = logging.getLogger("vedette"), 0
        handlers, level = log.handlers, log.level
        with CliRunner().isolation(env=environment) as (stdout, stderr, _):
            try:
                cli.main(list(map(str, arguments)))
            except SystemExit as end:
                code = int(end.code or 0)
            finally:
                log.handlers = handlers
                log.setLevel(level)
            sys.stdout.flush()
            sys.stderr.flush()
            return subprocess.CompletedProcess(arguments, code, stdout.getvalue().decode(), stderr.getvalue().decode())

    return call


@pytest.fixture
def record_proof(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Writes a proof's figures into build/proofs.json, under the name of the test; it took as long as until then."""
    started = time.monotonic()
    path = ROOT / "build" / "proofs.json"

    def write(tries: int, losses: int, **more: object) -> None:
        proofs = json.loads(path.read_text()) if path.exists() else {}
        seconds = round(time.monotonic() - started, 1)
        name = request.node.name.removeprefix("test_")
        proofs[name] = {"tries": tries, "losses": losses, "seconds": seconds, **more}
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(proofs, indent=2) + "\n")

    return write
