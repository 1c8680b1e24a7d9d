"""What the tests share: pictures of a made-up product, a bundle built from them, a real broker, a subscriber, a daemon.

The product is a woven texture, a defect is a scratch in it; both come from a seed, so every run sees the same.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clips
import cv2
import hypothesis
import numpy as np
import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paths import ROOT
from proxy import Proxy
from squares import make as make_squares

from vedette.compress.build import Built, build
from vedette.compress.demo.broker import configure
from vedette.runtime.bundle import keys
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring

# The same examples on every machine, however slow it is.
hypothesis.settings.register_profile("vedette", deadline=None, derandomize=True)
hypothesis.settings.load_profile("vedette")

GOAL = """\
name = "weave"
task = "anomaly"
[data]
good = "good"
defect = "defect"
[goal]
min_auroc = 0.9
false_alarm_rate = 0.1
[model]
input = 96
blocks = [2, 4]
"""

KINDS_GOAL = """\
name = "kinds"
task = "classify"
[data]
classes = "kinds"
group = '^(\\d+)'
[goal]
min_accuracy = 0.8
max_drop = 0.1
[model]
input = 96
epochs = 1
[augment]
flip = true
"""


YARD_GOAL = """\
name = "yard"
task = "behaviour"
[data]
footage = "normal"
abnormal = "abnormal"
[goal]
min_auroc = 0.9
"""


def weave(seed: int, scratched: bool) -> Any:
    """A picture of the product: 120 x 120 x 3, uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:120, :120]
    threads = 20 * np.sin(x / 3 + rng.uniform(0, 0.3)) + 20 * np.sin(y / 3 + rng.uniform(0, 0.3))
    picture = 120 + threads + rng.normal(0, 4, threads.shape)
    if scratched:
        start, end = rng.integers(20, 45, 2), rng.integers(75, 100, 2)  # long enough for any detector on any machine
        cv2.line(picture, tuple(map(int, start)), tuple(map(int, end)), 245.0, 4)
    return np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good/, defect/ and a goal file."""
    folder = tmp_path_factory.mktemp("product")
    for kind, count, first in (("good", 60, 0), ("defect", 12, 1000)):
        (folder / kind).mkdir()
        for number in range(count):
            cv2.imwrite(str(folder / kind / f"{number:03d}.png"), weave(first + number, kind == "defect"))
    (folder / "goal.toml").write_text(GOAL)
    return folder


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    keys.generate(folder)
    return folder


@pytest.fixture(scope="session")
def keyring(key_folder: Path) -> Keyring:
    return Keyring.read(key_folder)


@pytest.fixture(scope="session")
def built(product: Path, key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The product's bundle, built once."""
    out = tmp_path_factory.mktemp("out")
    return build(product / "goal.toml", out, keys.read_private(key_folder / "vedette.key"))


@pytest.fixture(scope="session")
def bundle(built: Built, keyring: Keyring) -> Bundle:
    return Bundle.open(built.bundle, keyring)


@pytest.fixture(scope="session")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings in normal/ and abnormal/, a long one in which someone shakes in the middle, and a goal file."""
    folder = tmp_path_factory.mktemp("yard")
    for seed in range(12):
        clips.write(folder / "normal" / f"{seed:02}.avi", clips.yard("walk", seed))
    for seed in range(6):
        kind = ("shake", "run", "back")[seed % 3]
        clips.write(folder / "abnormal" / f"{kind}{seed}.avi", clips.yard(kind, 100 + seed))
    scenes = [clips.yard("walk", 200, 2.0), clips.yard("shake", 200, 3.0), clips.yard("walk", 200, 2.0)]
    clips.write(folder / "day.avi", [frame for scene in scenes for frame in scene])
    (folder / "goal.toml").write_text(YARD_GOAL)
    return folder


@pytest.fixture(scope="session")
def built_yard(yard: Path, key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The bundle of a yard's normal behaviour, built once."""
    out = tmp_path_factory.mktemp("out")
    return build(yard / "goal.toml", out, keys.read_private(key_folder / "vedette.key"))


@pytest.fixture(scope="session")
def yard_bundle(built_yard: Built, keyring: Keyring) -> Bundle:
    return Bundle.open(built_yard.bundle, keyring)


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with kinds/good, kinds/scratch and kinds/spot, few of the last, and a goal file; pairs are groups."""
    folder = tmp_path_factory.mktemp("kinds")
    for kind, count, first in (("good", 40, 0), ("scratch", 24, 1000), ("spot", 12, 2000)):
        (folder / "kinds" / kind).mkdir(parents=True)
        for number in range(count):
            picture = weave(first + number, kind == "scratch")
            if kind == "spot":
                centre = np.random.default_rng(number).integers(30, 90, 2)
                cv2.circle(picture, tuple(map(int, centre)), 9, (30, 30, 30), -1)
            cv2.imwrite(str(folder / "kinds" / kind / f"{number // 2:03d}-{number % 2}.png"), picture)
    (folder / "goal.toml").write_text(KINDS_GOAL)
    return folder


@pytest.fixture(scope="session")
def built_kinds(kinds: Path, key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The classifier's bundle, built once."""
    out = tmp_path_factory.mktemp("out")
    return build(kinds / "goal.toml", out, keys.read_private(key_folder / "vedette.key"))


@pytest.fixture(scope="session")
def kinds_bundle(built_kinds: Built, keyring: Keyring) -> Bundle:
    return Bundle.open(built_kinds.bundle, keyring)


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images/, labels/, coco.json, a detector and a goal file."""
    folder = tmp_path_factory.mktemp("squares")
    make_squares(folder)
    return folder


@pytest.fixture(scope="session")
def built_squares(squares: Path, key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The detector's bundle, built once."""
    out = tmp_path_factory.mktemp("out")
    return build(squares / "goal.toml", out, keys.read_private(key_folder / "vedette.key"))


@pytest.fixture(scope="session")
def squares_bundle(built_squares: Built, keyring: Keyring) -> Bundle:
    return Bundle.open(built_squares.bundle, keyring)


class Broker:
    """rumqttd in a process of its own, which can be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.config, self.port = configure(folder)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        code = f"import iotcore; iotcore.IotCoreBroker(config_path={str(self.config)!r}).run_forever()"
        self.process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
        wait_for(self.answers, "the broker to listen")

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Not started yet."""
    broker = Broker(tmp_path)
    yield broker
    broker.kill()


@pytest.fixture
def gate(broker: Broker) -> Iterator[Proxy]:
    """A door in front of the broker, shut at first."""
    gate = Proxy(broker.port, open=False)
    yield gate
    gate.close()


class Subscriber:
    """Collects every message below `#`, subscribing again whenever it reconnects."""

    def __init__(self, port: int) -> None:
        self.messages: list[MQTTMessage] = []
        self.subscribed = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, "subscriber", protocol=MQTTProtocolVersion.MQTTv5)
        self.client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]  # fractions work
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_disconnect = lambda *_: self.subscribed.clear()
        self.client.on_message = lambda _client, _data, message: self.messages.append(message)
        self.client.connect_async("127.0.0.1", port)
        self.client.loop_start()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in self.messages if "/evt/" in message.topic]

    def latest(self, level: str) -> bytes | None:
        """The newest payload of the topic that has `level` in it."""
        payloads = [message.payload for message in self.messages if f"/{level}/" in message.topic]
        return bytes(payloads[-1]) if payloads else None


@pytest.fixture
def listen() -> Iterator[Callable[[int], Subscriber]]:
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
def subscriber(broker: Broker, listen: Callable[[int], Subscriber]) -> Subscriber:
    return listen(broker.port)


class Device:
    """A configuration folder for one camera, and the real daemon in a process of its own."""

    def __init__(self, folder: Path, bundle: Path, keys: Path) -> None:
        self.folder = folder
        self.bundle = bundle
        self.keys = keys
        (folder / "cameras").mkdir(parents=True)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.prefix: list[str] = []
        self.outbox = folder / "state" / "door" / "outbox.db"

    def configure(self, source: str, url: str, rule: str = "hysteresis = 0.0", **camera: str) -> None:
        self.folder.joinpath("vedette.toml").write_text(
            f"[outbox]\nvolatile = true\n"
            f'[device]\nname = "box"\nsite = "plant"\narea = "hall"\nline = "line1"\nkeys = "{self.keys}"\n'
            f'[broker]\nurl = "{url}"\nprefix = "test"\n'
        )
        extra = "".join(f'{key} = "{value}"\n' for key, value in camera.items())
        (self.folder / "cameras" / "door.toml").write_text(
            f'source = "{source}"\nbundle = "{self.bundle}"\n{extra}[[rules]]\nuse = "presence"\n{rule}\n'
        )

    def amend(self, table: str, text: str) -> None:
        """Adds lines to a table of vedette.toml."""
        path = self.folder / "vedette.toml"
        path.write_text(path.read_text().replace(f"[{table}]\n", f"[{table}]\n{text}\n"))

    def start(self) -> subprocess.Popen[bytes]:
        command = [
            *self.prefix,
            sys.executable,
            "-m",
            "vedette.runtime.cli",
            "run",
            "door",
            "--config",
            str(self.folder),
        ]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stderr=log, stdout=subprocess.PIPE)
        self.processes.append(process)
        return process

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def recorded(self) -> int:
        """How many events were ever recorded."""
        return self._ask("SELECT coalesce(max(seq), 0) FROM sqlite_sequence")

    def waiting(self) -> int:
        return self._ask("SELECT count(*) FROM events WHERE NOT delivered")

    def _ask(self, query: str) -> int:
        if not self.outbox.exists():
            return 0
        database = sqlite3.connect(f"file:{self.outbox}?mode=ro", uri=True, timeout=5)
        try:
            return int(database.execute(query).fetchone()[0])
        except sqlite3.DatabaseError:  # it is being made, or mended
            return 0
        finally:
            database.close()


@pytest.fixture
def device(tmp_path: Path, built: Built, key_folder: Path) -> Iterator[Device]:
    device = Device(tmp_path / "config", built.bundle, key_folder)
    yield device
    for process in device.processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.fixture
def sorter(tmp_path: Path, built_kinds: Built, key_folder: Path) -> Iterator[Device]:
    """The same with the classifier's bundle."""
    device = Device(tmp_path / "sorter", built_kinds.bundle, key_folder)
    yield device
    for process in device.processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="session")
def line(product: Path, built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of frames as they pass the camera: two good parts, one defective, and so on for 30 parts.

    The good ones are those that the threshold was drawn above, so that none of them is a false alarm.
    """
    folder = tmp_path_factory.mktemp("line")
    good = [path for path in built.split.threshold for _ in range(2)]
    for number in range(30):
        source = built.split.defect[number // 3] if number % 3 == 2 else good[number % len(good)]
        (folder / f"{number:02d}.png").symlink_to(source)
    return folder


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.02)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Waits until a condition holds, or fails saying what was waited for."""
    return wait_for


@pytest.fixture
def vedette() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in a process of its own."""

    def run(*arguments: str | Path, seconds: float = 300.0, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vedette.runtime.cli", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds, env=os.environ | environment
        )

    return run


@pytest.fixture
def prove(request: pytest.FixtureRequest) -> Callable[..., None]:
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
