"""What the daemons of a box hold in memory, by task, cameras and evidence.

    make bench-memory BENCH_ARGS="--cameras 1,2,4"

Bundles of made-up products are built first: anomaly models and a classifier of 224 x 224 pixels, a small object
detector, a behaviour model. Each camera sees pictures of 640 x 480, two a second, some of which bring events to a real
broker. When each camera has seen 30, the proportional set size (PSS) of the daemons and of all processes that they
started is read: a page that several share counts in parts, so that the sum is what the box gives up. Figures go to
build/memory.json.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import cv2

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from mosquitto import Mosquitto  # noqa: E402
from products import write_anomaly_images, write_behaviour_videos, write_class_images  # noqa: E402
from squares import write_detection_images  # noqa: E402

from vedette.compress.build import BuildRequest, build  # noqa: E402
from vedette.runtime.bundle import keys  # noqa: E402

FRAMES = 30
WRITERS = {
    "padim": write_anomaly_images,
    "patchcore": write_anomaly_images,
    "classify": write_class_images,
    "detect": write_detection_images,
    "behaviour": write_behaviour_videos,
}
SIZE = "input = 96"
EVIDENCE = {
    "off": "",
    "thumbnails": '[evidence]\nthumbnail = "jpeg"\n',
    "clips": '[evidence]\nthumbnail = "jpeg"\nclip_seconds = 10.0\n',
}


def make_bundles(place: Path) -> None:
    """A key, and for each task its bundle and its pictures."""
    if not (place / "vedette.key").exists():
        keys.generate_key_pair(place)
    key = keys.read_private_key(place / "vedette.key")
    for task, write in WRITERS.items():
        folder = place / task
        if (folder / "ready").exists():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write(folder)
        goal = folder / "goal.toml"
        detector = f'detector = "{task}"\n' if task in ("padim", "patchcore") else ""
        goal.write_text(goal.read_text().replace(SIZE, f"{detector}input = 224"))
        if detector:
            goal.write_text(goal.read_text() + '[inspect]\nalign = "none"\n')
        bundle = build(BuildRequest(goal, folder / "out", key), log=lambda _: None).bundle
        bundle.rename(folder / "bundle.vedette")
        (folder / "line").mkdir()
        for number, path in enumerate(_pictures(folder)[:12]):
            cv2.imwrite(str(folder / "line" / f"{number:02}.jpg"), cv2.resize(cv2.imread(str(path)), (640, 480)))
        (folder / "ready").touch()


def _pictures(folder: Path) -> list[Path]:
    """Pictures of the product, good and defective in turn."""
    kinds = [sorted(each.glob("*.png")) for each in sorted(folder.rglob("*")) if each.is_dir()]
    return [path for pair in zip(*[each for each in kinds if each], strict=False) for path in pair]


def descendants(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from descendants(int(child))


def held(pids: list[int]) -> dict[str, float]:
    """PSS of all, and RSS of each, in 10**6 bytes."""
    found = {"Pss:": 0.0, "Rss:": 0.0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, *value = line.split()
            if name in found:
                found[name] += int(value[0]) * 1024 / 1e6
    return {"pss_mb": round(found["Pss:"]), "rss_mb": round(found["Rss:"]), "processes": len(pids)}


def measure(place: Path, task: str, cameras: int, evidence: str, is_common: bool, backend: str) -> dict[str, Any]:
    """Memory of the daemons of one box.

    Args:
        place: where `make_bundles` has put the bundles
        task: one of them
        cameras: how many
        evidence: a key of `EVIDENCE`
        is_common: one unit for all cameras, not one for each
        backend: of the models
    """
    source = "day.avi?fps=10" if task == "behaviour" else "line?fps=2"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Mosquitto(folder / "broker")
        broker.start()
        (folder / "cameras").mkdir()
        (folder / "vedette.toml").write_text(
            f'[device]\nname = "box"\nkeys = "{place}"\n[broker]\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
        )
        names = [f"c{number}" for number in range(cameras)]
        for each in names:
            (folder / "cameras" / f"{each}.toml").write_text(
                f'source = "file:{place}/{task}/{source}&loop=true"\nbundle = "{place}/{task}/bundle.vedette"\n'
                f'backend = "{backend}"\n{EVIDENCE[evidence]}[[rules]]\nuse = "presence"\n'
            )
        vedette = [sys.executable, "-m", "vedette.runtime.cli"]
        groups = [":".join(names)] if is_common else names
        log = (folder / "log").open("wb")
        daemons = [
            subprocess.Popen([*vedette, "run", group, "--config", folder], stdout=log, stderr=log) for group in groups
        ]
        try:
            _wait_for_frames([*vedette, "status", "--json", "--config", str(folder)], cameras, daemons, folder / "log")
            figures = held([pid for each in daemons for pid in descendants(each.pid)])
            kept = sum(1 for each in folder.rglob("*") if each.suffix in (".jpg", ".jpeg", ".mp4", ".avi"))
        finally:
            for daemon in daemons:
                daemon.terminate()
            for daemon in daemons:
                daemon.wait(60)
            broker.kill()
            log.close()
    units = "one" if is_common else "each"
    return {
        "task": task,
        "cameras": cameras,
        "evidence": evidence,
        "units": units,
        "evidence_files": kept,
        **figures,
    }


def _wait_for_frames(status: list[str], cameras: int, daemons: list[subprocess.Popen[Any]], log: Path) -> None:
    until = time.monotonic() + 240
    while True:
        done = subprocess.run(status, capture_output=True, text=True, check=False)
        reports = json.loads(done.stdout) if done.stdout.startswith("[") else []
        if len(reports) == cameras and all(each.get("frames", 0) >= FRAMES for each in reports):
            return
        if time.monotonic() > until or any(each.poll() is not None for each in daemons):
            raise click.ClickException(f"no frames come: {log.read_text()[-2000:]}")
        time.sleep(1)


def plan(cameras: list[int], most: int) -> Iterator[tuple[str, int, str, bool]]:
    """Task, cameras, evidence, and whether all cameras are of one unit."""
    for count in cameras:
        yield "padim", count, "off", False
        if count > 1:
            yield "padim", count, "off", True
    for task in WRITERS:
        if task != "padim":
            yield task, 1, "off", False
            yield task, most, "off", True
    for evidence in ("thumbnails", "clips"):
        yield "padim", 1, evidence, False
        yield "padim", most, evidence, True


@click.command()
@click.option("--cameras", default="1,2,4,8", show_default=True)
@click.option("--most", default=4, show_default=True, help="Cameras of the rows that vary the task or the evidence.")
@click.option("--backend", default="tflite", show_default=True)
def bench(cameras: str, most: int, backend: str) -> None:
    """Measure what the daemons hold in memory."""
    place = ROOT / "build" / "bench" / "memory"
    place.mkdir(parents=True, exist_ok=True)
    make_bundles(place)
    rows = []
    for task, count, evidence, is_common in plan([int(each) for each in cameras.split(",")], most):
        rows.append(measure(place, task, count, evidence, is_common, backend))
        click.echo(json.dumps(rows[-1]))
        (ROOT / "build" / "memory.json").write_text(
            json.dumps({"machine": os.uname().machine, "backend": backend, "rows": rows}, indent=2)
        )


if __name__ == "__main__":
    bench()
