"""The demonstration: solar cells from the laboratory to the broker.

Electroluminescence pictures of solar cells (Buerhop-Lublinski et al., "A Benchmark for Visual Identification of
Defective Solar Cells in Electroluminescence Imagery", 2018) from the PyPI package `elpv-dataset`: monocrystalline
cells with defect probability 0 are good, 1 defective. Neighbours in file order come from one module and resemble each
other, so blocks of 60 stay together when the images are divided; a division by cell would flatter the AUROC by 0.04.
The test cells then pass the camera in file order, as they were taken.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from vedette.runtime.camera import image_files
from vedette.runtime.errors import MachineProblem
from vedette.runtime.evaluation.verify import Track
from vedette.runtime.events.sinks.mqtt import address

from ..build import Built
from ..report.html_report import MODELS

BLOCK = 60  # cells in file order that stay together
JPEG_QUALITY = 95  # what OpenCV writes unless told otherwise
PREFIX = "vedette-demo"
CAMERA = "cells"

GOAL = """\
name = "cells"
task = "anomaly"

[data]
good = "good"
defect = "defect"
group = '^block(\\d+)'  # cells of one block come from one module
seed = {seed}
name = "ELPV, monocrystalline cells (PyPI elpv-dataset 1.0.0.post1)"
licence = "CC BY-NC-SA 4.0"

[device]
profile = "host"

[goal]
min_auroc = 0.90
max_drop = 0.01
max_ms = 50.0
max_bytes = 6_000_000
false_alarm_rate = 0.05
"""

DEVICE = """\
[device]
name = "demo"
site = "plant"
area = "hall"
line = "line1"
keys = "../keys"

[broker]
url = "{url}"
prefix = "{prefix}"

# The demonstration's events may as well be lost in a power cut.
[outbox]
volatile = true
"""

CAMERA_FILE = """\
source = "file:../../camera?fps={fps}"
bundle = "../../{bundle}"

# Each frame shows another part, so an event ends with the last defective one in a row.
[[rules]]
use = "presence"
hysteresis = 0.0
debounce = 1
"""


class Received(msgspec.Struct):
    """What came out of the broker, collected as it arrives."""

    events: list[dict[str, Any]] = []
    bytes: int = 0
    """Topics and payloads of everything that the daemon published."""


def prepare(folder: Path, seed: int, track: Track) -> Path:
    """Writes the pictures and the goal file into `folder`; returns the goal file.

    Raises:
        MachineProblem: the pictures are not installed.
    """
    try:
        from elpv_dataset.utils import load_dataset
    except ImportError:
        hint = "pip install 'vedette[demo]' (pictures: CC BY-NC-SA 4.0, not for commercial use)"
        raise MachineProblem("the demonstration's pictures are not installed", hint=hint) from None
    pictures, probabilities, types = load_dataset()
    for kind in ("good", "defect"):
        shutil.rmtree(folder / kind, ignore_errors=True)
        (folder / kind).mkdir(parents=True)
    wanted = [index for index in range(len(pictures)) if types[index] == "mono" and probabilities[index] in (0.0, 1.0)]
    for index in track(wanted, "pictures"):
        kind = "defect" if probabilities[index] else "good"
        cv2.imwrite(str(folder / kind / f"block{index // BLOCK:02d}-cell{index:04d}.png"), pictures[index])
    goal = folder / "cells.toml"
    goal.write_text(GOAL.format(seed=seed))
    return goal


def configure(folder: Path, built: Built, url: str, fps: float) -> list[Path]:
    """Lays out the camera's frames and the device's configuration; returns the frames in the order of their numbers."""
    for name in ("camera", "config"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "camera").mkdir()
    (folder / "config" / "cameras").mkdir(parents=True)
    frames = sorted([*built.split.test, *built.split.defect], key=lambda path: path.name)
    for path in frames:
        (folder / "camera" / path.name).symlink_to(path.resolve())
    (folder / "config" / "vedette.toml").write_text(DEVICE.format(url=url, prefix=PREFIX))
    camera = CAMERA_FILE.format(fps=fps, bundle=built.bundle.name)
    (folder / "config" / "cameras" / f"{CAMERA}.toml").write_text(camera)
    return frames


def subscribe(url: str, show: Callable[[dict[str, Any]], None]) -> tuple[Client, Received]:
    """A subscriber that shows each event as it arrives, and what it has received so far."""
    received = Received(events=[])
    ready = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, "vedette-demo-subscriber", protocol=MQTTProtocolVersion.MQTTv5)

    def on_message(_client: Client, _data: Any, message: MQTTMessage) -> None:
        received.bytes += len(message.topic.encode()) + len(message.payload)
        if "/evt/" in message.topic:
            event = json.loads(message.payload)
            received.events.append(event)
            show(event)

    client.on_message = on_message
    client.on_connect = lambda each, *_: each.subscribe(f"{PREFIX}/#", qos=1)
    client.on_subscribe = lambda *_: ready.set()
    host, port = address(url)
    try:
        client.connect(host, port)
    except OSError as error:
        raise MachineProblem(f"{url}: {error}", hint="start the broker, or leave --broker out") from None
    client.loop_start()
    if not ready.wait(10):
        raise MachineProblem(f"{url} does not answer as an MQTT 5 broker", hint="leave --broker out")
    return client, received


def watch(folder: Path, received: Received) -> int:
    """Runs the real daemon over the frames to their end; returns how many events it has published.

    Raises:
        MachineProblem: the daemon failed.
    """
    command = [sys.executable, "-m", "vedette.runtime.cli", "run", CAMERA, "--config", str(folder / "config")]
    log = folder / "daemon.log"
    with log.open("wb") as stderr:
        code = subprocess.run(command, stderr=stderr, check=False).returncode  # noqa: S603
    if code:
        raise MachineProblem(f"the daemon ended with code {code}", hint=f"{log} tells why")
    with sqlite3.connect(folder / "config" / "state" / CAMERA / "outbox.db") as outbox:
        recorded = outbox.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()[0]
        waiting = outbox.execute("SELECT count(*) FROM events WHERE NOT delivered").fetchone()[0]
    published: int = recorded - waiting
    until = time.monotonic() + 5
    while len(received.events) < published and time.monotonic() < until:
        time.sleep(0.05)
    return published


def outcome(built: Built, frames: list[Path], received: Received, published: int) -> dict[str, Any]:
    """The figures, under the names that `--json` promises."""
    alarmed: set[int] = set()
    for event in received.events:
        data = event["data"]
        first = next(each["data"]["frame"] for each in received.events if each["id"] == data["event"])
        alarmed.update(range(first, data["frame"] + 1))
    defective = {number for number, path in enumerate(frames) if path.parent.name == "defect"}
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    measured = built.manifest.measured
    return {
        **{f"{what}_{name}": measured[f"{what}_{name}"] for what in ("auroc", "ms", "bytes") for name in MODELS},
        "parity_max_steps": measured["parity_max_steps"],
        "frames": len(frames),
        "events_published": published,
        "events_received": len(received.events),
        "hits": len(alarmed & defective),
        "misses": len(defective - alarmed),
        "false_alarms": len(alarmed - defective),
        "bytes_published": received.bytes,
        "bytes_frames": sum(len(cv2.imencode(".jpg", image_files.read(path), quality)[1]) for path in frames),
        "bundle": str(built.bundle),
    }
