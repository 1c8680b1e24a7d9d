"""The demonstration: from images of solar cells to events at a broker.

Electroluminescence images of solar cells (Buerhop-Lublinski et al., "A Benchmark for Visual Identification of
Defective Solar Cells in Electroluminescence Imagery", 2018) from the PyPI package `elpv-dataset`: monocrystalline
cells with defect probability 0 are good, 1 defective. Neighbors in file order come from one module and resemble each
other, so blocks of 60 stay together in the split; a split by single cells would raise the AUROC by 0.04. The test cells
then pass the camera in file order, as they were taken.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import msgspec

from vedette.runtime.camera import image_files
from vedette.runtime.distribution import install_command
from vedette.runtime.errors import MachineProblem
from vedette.runtime.progress import Progress

from ..build import BuildResult
from ..data.split import Split
from ..evaluation.built_models import MODEL_TITLES
from .subscriber import TOPIC_PREFIX, ReceivedMessages

BLOCK = 60  # cells in file order that stay together
JPEG_QUALITY = 95  # what OpenCV writes unless told otherwise
CAMERA = "cells"

GOAL = """\
name = "{name}"
task = "anomaly"

[data]
good = "good"
defect = "defect"
group = '^block(\\d+)'  # cells of one block come from one module
seed = {seed}
name = "ELPV, {title} cells (PyPI elpv-dataset 1.0.0.post1)"
licence = "CC BY-NC-SA 4.0"

[device]
profile = "host"

[goal]
min_auroc = {min_auroc}
max_drop = 0.01
max_ms = 50.0
max_bytes = 6_000_000
false_alarm_rate = 0.05
"""


class CellKind(msgspec.Struct, frozen=True):
    """A kind of cells in the data set, which is a product of its own."""

    name: str
    type: str
    """As the data set has it."""
    title: str
    min_auroc: float
    most_cells: int
    """More would only make the build longer."""


MONO = CellKind("cells", "mono", "monocrystalline", 0.90, 10_000)
POLY = CellKind("poly", "poly", "polycrystalline", 0.70, 360)
"""The second product of the line; its defects are harder to tell from the grain of the silicon."""

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


def write_images_and_goal(folder: Path, seed: int, progress: Progress, kind: CellKind = MONO) -> Path:
    """Write the images and the goal file of a kind of cells into `folder`; returns the goal file.

    Raises:
        MachineProblem: the images are not installed.
    """
    try:
        from elpv_dataset.utils import load_dataset
    except ImportError:
        hint = f"{install_command('demo')} (images: CC BY-NC-SA 4.0, not for commercial use)"
        raise MachineProblem("the images of the demonstration are not installed", hint=hint) from None
    images, probabilities, types = load_dataset()
    for name in ("good", "defect"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    sure = (0.0, 1.0)
    wanted = [index for index in range(len(images)) if types[index] == kind.type and probabilities[index] in sure]
    for index in progress(wanted[: kind.most_cells], "images"):
        name = "defect" if probabilities[index] else "good"
        cv2.imwrite(str(folder / name / f"block{index // BLOCK:02d}-cell{index:04d}.png"), images[index])
    goal = folder / f"{kind.name}.toml"
    facts = {"name": kind.name, "title": kind.title, "min_auroc": f"{kind.min_auroc:.2f}"}
    goal.write_text(GOAL.format(seed=seed, **facts))
    return goal


def write_configuration(folder: Path, built: BuildResult, url: str, fps: float) -> list[Path]:
    """Write the camera's frames and the device's configuration; returns the frames in order of their numbers."""
    for name in ("camera", "config"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "camera").mkdir()
    (folder / "config" / "cameras").mkdir(parents=True)
    frames = sorted([*built.split.test, *_defective(built)], key=lambda path: path.name)
    for path in frames:
        (folder / "camera" / path.name).symlink_to(path.resolve())
    (folder / "config" / "vedette.toml").write_text(DEVICE.format(url=url, prefix=TOPIC_PREFIX))
    camera = CAMERA_FILE.format(fps=fps, bundle=built.bundle.name)
    (folder / "config" / "cameras" / f"{CAMERA}.toml").write_text(camera)
    return frames


def run_daemon_to_end(folder: Path, received: ReceivedMessages) -> int:
    """Run the daemon over all frames; returns how many events it has published.

    Raises:
        MachineProblem: the daemon failed.
    """
    command = [sys.executable, "-m", "vedette.runtime.cli", "run", CAMERA, "--config", str(folder / "config")]
    log = folder / "daemon.log"
    with log.open("wb") as stderr:
        code = subprocess.run(command, stderr=stderr, check=False).returncode  # noqa: S603
    if code:
        raise MachineProblem(f"the daemon ended with code {code}", hint=f"the reason is in {log}")
    with sqlite3.connect(folder / "config" / "state" / CAMERA / "outbox.db") as outbox:
        recorded = outbox.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()[0]
        waiting = outbox.execute("SELECT count(*) FROM events WHERE NOT delivered").fetchone()[0]
    published: int = recorded - waiting
    until = time.monotonic() + 5
    while len(received.events) < published and time.monotonic() < until:
        time.sleep(0.05)
    return published


def compute_figures(
    built: BuildResult, frames: list[Path], received: ReceivedMessages, published: int
) -> dict[str, Any]:
    """The figures of the demonstration, by the keys of `--json`."""
    alarmed: set[int] = set()
    for event in received.events:
        data = event["data"]
        first = next(each["data"]["frame"] for each in received.events if each["id"] == data["event"])
        alarmed.update(range(first, data["frame"] + 1))
    defective = {number for number, path in enumerate(frames) if path.parent.name == "defect"}
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    measured = built.manifest.measured
    return {
        **{f"{what}_{name}": measured[f"{what}_{name}"] for what in ("auroc", "ms", "bytes") for name in MODEL_TITLES},
        "parity_max_steps": measured["parity_max_steps"],
        "frames": len(frames),
        "events_published": published,
        "events_received": len(received.events),
        "hits": len(alarmed & defective),
        "misses": len(defective - alarmed),
        "false_alarms": len(alarmed - defective),
        "bytes_published": received.bytes,
        "bytes_frames": sum(len(cv2.imencode(".jpg", image_files.read_image(path), quality)[1]) for path in frames),
        "bundle": str(built.bundle),
    }


def _defective(built: BuildResult) -> list[Path]:
    return built.split.defect if isinstance(built.split, Split) else []
