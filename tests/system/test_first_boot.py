"""A card with a seed boots under systemd: the first boot takes the seed, and the camera's first event arrives.

The machine is a systemd-nspawn container on a copy-on-write view of this machine, as in test_systemd.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from copied_machine import MARKS, boot, copied_machine, wait_for_report
from mosquitto import Mosquitto
from paths import TESTS
from products import texture_image
from subscriber import Subscriber

from vedette.deploy.seed import Seed, SeedBroker, SeedCamera, SeedDevice, render_seed

V1 = TESTS / "bundles" / "v1"
PASSWORD = "s3cret of box7"

pytestmark = MARKS

TARGET = """\
[Unit]
Requires=basic.target proof.service
Wants=vedette-first-boot.service
After=basic.target
"""
PROOF = """\
import json, subprocess, time
from pathlib import Path

def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    print(command, done.returncode, done.stdout, done.stderr, flush=True)
    return done

def vedette(*arguments):
    done = run("/opt/vedette/bin/vedette", *arguments, "--json")
    return json.loads(done.stdout or "null")

def show(unit, name):
    return run("systemctl", "show", "-P", name, unit).stdout.strip()

deadline = time.monotonic() + 120
while not (vedette("status", "door") or [{}])[0].get("frames") and time.monotonic() < deadline:
    time.sleep(0.5)
facts = {
    "first_boot": [show("vedette-first-boot", name) for name in ("Result", "ConditionResult")],
    "enabled": run("systemctl", "is-enabled", "vedette@door").stdout.strip(),
    "active": show("vedette@door", "ActiveState"),
    "seed": Path("/boot/firmware/vedette.seed").exists(),
    "result": Path("/boot/firmware/vedette.seed.result").read_text(),
    "modes": {str(path): [oct(path.stat().st_mode & 0o777), path.owner(), path.group()]
              for path in Path("/etc/vedette").rglob("*") if path.is_file()},
    "doctor": [check for check in vedette("doctor") if check["works"] is False],
    "again": vedette("setup", "--yes", "--wait", "60"),
    "other": vedette("setup", "--yes", "--wait", "60", "--site", "other"),
    "journal": run("journalctl", "-u", "vedette-first-boot", "-u", "vedette@door", "-o", "cat", "--no-pager").stdout,
}
Path("/results/new").write_text(json.dumps(facts))
Path("/results/new").rename("/results/facts")
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The root directory of a container with Vedette, but without its configuration; and the folder of results."""
    units = ["vedette@.service", "vedette-first-boot.service"]
    with copied_machine(tmp_path, PROOF, TARGET, units) as (root, results):
        (root / "var/lib/vedette").mkdir()
        (root / "opt/line").mkdir(mode=0o755)
        for number in range(12):
            cv2.imwrite(str(root / f"opt/line/{number:02}.png"), texture_image(1000 + number, number % 4 == 3))
        yield root, results


def write_seed(firmware: Path, url: str) -> None:
    firmware.mkdir(parents=True, exist_ok=True)
    shutil.copy(V1 / "weave.vedette", firmware)
    camera = SeedCamera(name="door", source="file:/opt/line?fps=10&loop=true", bundle="weave.vedette")
    broker = SeedBroker(url=url, username="box7", password=PASSWORD)
    keys = {"vedette.pub": (V1 / "vedette.pub").read_text()}
    seed = Seed(
        instance="box7-1", device=SeedDevice(name="box7", site="plant"), broker=broker, cameras=(camera,), keys=keys
    )
    (firmware / "vedette.seed").write_text(render_seed(seed))


def boot_until_proven(root: Path, results: Path) -> Any:
    """Boots until the proof powers off; returns what it saw."""
    container = boot(root, results)
    try:
        facts = wait_for_report(container, results, "facts", seconds=300)
        container.wait(60)
    finally:
        container.kill()
        container.wait()
    return facts


def test_first_boot_takes_the_seed_and_the_first_event_arrives(machine: tuple[Path, Path], tmp_path: Path) -> None:
    root, results = machine
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    subscriber = Subscriber(broker.port)
    write_seed(root / "boot/firmware", f"mqtt://127.0.0.1:{broker.port}")
    try:
        facts = boot_until_proven(root, results)
    finally:
        broker.kill()
    assert facts["first_boot"] == ["success", "yes"], facts["journal"]
    assert (facts["enabled"], facts["active"]) == ("enabled", "active"), facts["journal"]
    assert (facts["seed"], facts["result"]) == (False, "ok: instance box7-1, device box7, cameras door\n")
    modes = {path.removeprefix("/etc/vedette/"): each for path, each in facts["modes"].items()}
    assert modes["secrets/broker-password"] == ["0o640", "root", "vedette"]
    assert modes["vedette.toml"] == modes["cameras/door.toml"] == ["0o644", "root", "vedette"]
    assert facts["doctor"] == []
    again = facts["again"]
    assert (again["changed"], again["units"][0]["state"], again["events"][0]["works"]) == (False, "running", True)
    other = facts["other"]
    assert (other["changed"], other["units"][0]["state"], other["events"][0]["works"]) == (True, "restarted", True)
    assert PASSWORD not in facts["journal"]
    assert "can be read by" not in facts["journal"]
    topics = {message.topic for message in subscriber.messages}
    assert any(topic.startswith("vedette/v1/plant/area/line/box7/evt/door/") for topic in topics), topics
