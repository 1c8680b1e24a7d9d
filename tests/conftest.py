"""Fixtures of all tests: products and their bundles, a broker, a subscriber, a daemon, the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from daemon_process import DaemonProcess
from paths import ROOT
from products import write_anomaly_images, write_behaviour_videos, write_class_images
from proxy import Proxy
from rumqttd import RumqttdBroker
from shared_build import made_once
from squares import write_detection_images
from subscriber import Subscriber
from waiting import patience, wait_for

from vedette.runtime.bundle import keys
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring

if TYPE_CHECKING:  # the workshop takes seconds to load, and most tests of the runtime need none of it
    from vedette.compress.build import BuildResult

# The same examples on every machine, however slow it is.
hypothesis.settings.register_profile("vedette", deadline=None, derandomize=True)
hypothesis.settings.load_profile("vedette")

BUILDS = {"anomaly_build", "behaviour_build", "class_build", "detection_build"}
"""Fixtures that build a bundle; tests that need one are left out of `make test-fast`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that need a built bundle, or many seconds for another reason, as `build`."""
    for item in items:
        needs = set(getattr(item, "fixturenames", ()))
        if needs & BUILDS or "system" in item.path.parts:
            item.add_marker(pytest.mark.build)


def _folder(write: Callable[[Path], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "keys", _folder(keys.generate_key_pair))


@pytest.fixture(scope="session")
def keyring(key_folder: Path) -> Keyring:
    return Keyring.read(key_folder)


def _build(factory: pytest.TempPathFactory, data: Path, key_folder: Path) -> BuildResult:
    from vedette.compress.build import BuildRequest, build

    key = keys.read_private_key(key_folder / "vedette.key")
    return made_once(factory, f"{data.name}-build", lambda out: build(BuildRequest(data / "goal.toml", out, key)))


@pytest.fixture(scope="session")
def anomaly_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good/, defect/ and a goal file."""
    return made_once(tmp_path_factory, "texture", _folder(write_anomaly_images))


@pytest.fixture(scope="session")
def anomaly_build(anomaly_images: Path, key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """The bundle of an anomaly model."""
    return _build(tmp_path_factory, anomaly_images, key_folder)


@pytest.fixture(scope="session")
def anomaly_bundle(anomaly_build: BuildResult, keyring: Keyring) -> Bundle:
    return Bundle.open(anomaly_build.bundle, keyring)


@pytest.fixture(scope="session")
def behaviour_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos in normal/ and abnormal/, a long one with both, and a goal file."""
    return made_once(tmp_path_factory, "yard", _folder(write_behaviour_videos))


@pytest.fixture(scope="session")
def behaviour_build(behaviour_videos: Path, key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """The bundle of a behaviour model."""
    return _build(tmp_path_factory, behaviour_videos, key_folder)


@pytest.fixture(scope="session")
def behaviour_bundle(behaviour_build: BuildResult, keyring: Keyring) -> Bundle:
    return Bundle.open(behaviour_build.bundle, keyring)


@pytest.fixture(scope="session")
def class_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with kinds/good, kinds/scratch and kinds/spot, and a goal file."""
    return made_once(tmp_path_factory, "kinds", _folder(write_class_images))


@pytest.fixture(scope="session")
def class_build(class_images: Path, key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """The bundle of a classifier."""
    return _build(tmp_path_factory, class_images, key_folder)


@pytest.fixture(scope="session")
def class_bundle(class_build: BuildResult, keyring: Keyring) -> Bundle:
    return Bundle.open(class_build.bundle, keyring)


@pytest.fixture(scope="session")
def detection_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images/, labels/, coco.json, an object detector and a goal file."""
    return made_once(tmp_path_factory, "squares", _folder(write_detection_images))


@pytest.fixture(scope="session")
def detection_build(detection_images: Path, key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """The bundle of an object detector."""
    return _build(tmp_path_factory, detection_images, key_folder)


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
    gate = Proxy(broker.port, open=False)
    yield gate
    gate.close()


@pytest.fixture
def subscribe() -> Iterator[Callable[[int], Subscriber]]:
    """A subscriber to the broker at a port."""
    subscribers: list[Subscriber] = []

    def begin(port: int) -> Subscriber:
        subscribers.append(Subscriber(port))
        return subscribers[-1]

    yield begin
    for subscriber in subscribers:
        subscriber.client.disconnect()
        subscriber.client.loop_stop()


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
def line_images(anomaly_images: Path, anomaly_build: BuildResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
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


@pytest.fixture
def run_vedette() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in a process of its own."""

    def run(*arguments: str | Path, seconds: float = 300.0, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vedette.runtime.cli", *map(str, arguments)]
        limit, variables = seconds * patience(), os.environ | environment
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit, env=variables)

    return run


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
