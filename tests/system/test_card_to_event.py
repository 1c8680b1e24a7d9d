"""docs/from-card-to-event.md, followed on a card without a network; then the life of a box, with a power cut."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from altered_bundles import sign_altered, stored_bundle
from card import MARKS, Machine, mounted_card
from mosquitto import BINARY
from paths import ROOT
from waiting import wait_for

PAGE = ROOT / "docs" / "from-card-to-event.md"
DEB = Path(ROOT / "build" / "deb")
WITNESS = 1884
"""The port of a broker beside the machine, which outlives it."""
FILES = "sudo find /etc/vedette -type f -exec md5sum {} +"
SOURCE = "file:/opt/parts?fps=20&loop=true"

pytestmark = [
    *MARKS,
    pytest.mark.skipif(not list(DEB.glob("vedette_*_amd64.deb")), reason="needs the package: make deb card"),
]


def commands_on_the_box() -> list[str]:
    """What the page tells to type on one box."""
    section = PAGE.read_text().partition("\n## One box\n")[2].partition("\n## ")[0]
    return [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]


def make_parts(folder: Path) -> None:
    """Pictures of a line, good parts and now and then bad ones: the golden inputs of the bundle."""
    folder.mkdir(parents=True)
    good, also_good, bad, worse = stored_bundle().golden("image")
    order = [good, also_good] * 17 + [bad, bad, worse, worse, worse, bad]
    for number, image in enumerate(order):
        cv2.imwrite(str(folder / f"{number:03}.png"), image[:, :, ::-1])
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)


def raise_version(deb: Path, out: Path) -> Path:
    """The same package with a higher version."""
    tree = out.with_suffix(".tree")
    subprocess.run(["dpkg-deb", "-R", str(deb), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+later", control.read_text(), flags=re.MULTILINE))
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return out


class Network:
    """A network with a broker, and a subscriber that writes down every event; both outlive the machine."""

    def __init__(self, folder: Path, root: Path) -> None:
        folder.mkdir()
        self.received = folder / "received"
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {WITNESS} 127.0.0.1\nuser root\nallow_anonymous true\nmax_queued_messages 100000\n"
        )
        start = f"ip link set lo up && exec {BINARY} -c {config}"
        self.broker = subprocess.Popen(["unshare", "--net", "sh", "-c", start], stderr=subprocess.DEVNULL)
        self.path = f"/proc/{self.broker.pid}/ns/net"
        enter = ["nsenter", f"--net={self.path}", "chroot", str(root)]  # the card has the clients
        wait_for(lambda: subprocess.run([*enter, "mosquitto_pub", "-p", str(WITNESS), "-t", "x", "-n"],
                                        capture_output=True, check=False).returncode == 0, "the broker")  # fmt: skip
        subscribe = ["mosquitto_sub", "-p", str(WITNESS), "-V", "5", "-q", "1", "-t", "vedette/v1/+/+/+/+/evt/#"]
        with self.received.open("wb") as file:
            self.subscriber = subprocess.Popen([*enter, *subscribe], stdout=file)

    def events(self) -> list[dict[str, Any]]:
        lines = self.received.read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def end(self) -> None:
        for each in (self.subscriber, self.broker):
            each.kill()
            each.wait()


class Box:
    """A flashed card in a machine, with what was copied to the home of its user."""

    def __init__(self, root: Path, folder: Path, keys: Path) -> None:
        self.root, self.keys = root, keys
        self.home = root / "home" / "pi"
        self.network = Network(folder / "network", root)
        self.machine = Machine(root, folder / "boot.log", f"--network-namespace-path={self.network.path}")
        self.log = folder / "boot.log"

    def flash(self) -> None:
        """The card as it is before Vedette, and what the page tells to copy to it."""
        in_card = ["chroot", str(self.root), "sh", "-euc"]
        user = "useradd --create-home --shell /bin/bash pi && chmod 700 /home/pi"
        sudo = "echo 'pi ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/pi"
        name = "echo box > /etc/hostname && echo '127.0.1.1 box' >> /etc/hosts"
        script = f"dpkg --purge vedette && {user} && {sudo} && {name}"
        subprocess.run([*in_card, script], check=True, capture_output=True)
        make_parts(self.root / "opt" / "parts")
        (deb,) = DEB.glob("vedette_*_amd64.deb")
        shutil.copy(deb, self.home)
        shutil.copy(self.keys / "vedette.pub", self.home)
        sign_altered(self.home / "cells.vedette", self.keys, name="cells")

    def type(self, command: str) -> str:
        return self.machine.run(command, user="pi")

    def probation(self) -> dict[str, Any]:
        path = self.root / "var/lib/vedette/models/cells/probation.json"
        content: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
        return content

    def recorded(self) -> int:
        """How many events the camera ever recorded."""
        with sqlite3.connect(f"file:{self.root}/var/lib/vedette/door/outbox.db?mode=ro", uri=True) as database:
            return int(database.execute("SELECT max(seq) FROM sqlite_sequence").fetchone()[0])


@pytest.fixture
def box(tmp_path: Path, key_folder: Path) -> Iterator[Box]:
    with mounted_card(tmp_path) as root:
        box = Box(root, tmp_path, key_folder)
        try:
            box.flash()
            yield box
        finally:
            if box.machine.process is not None:
                box.machine.cut_power()
            box.network.end()


def follow_page(box: Box) -> dict[str, str]:
    """Types the page's commands as its user; returns what each printed."""
    answers = {
        "Broker": "mqtt://localhost:1883",
        "Name of the camera": "door",
        "Camera": SOURCE,
        "Bundle": "cells.vedette",
        "Public key": "vedette.pub",
    }
    printed = {}
    for command in commands_on_the_box():
        asks = command == "sudo vedette setup"
        printed[command] = box.machine.run_on_terminal(command, "pi", answers) if asks else box.type(command)
    return printed


def move_broker(box: Box) -> None:
    """One command, too. From now on every event must reach the broker that is watched."""
    assert "nothing to change" in box.type("sudo vedette setup --yes")
    box.type(f"sudo vedette setup --yes --broker mqtt://localhost:{WITNESS}")
    wait_for(box.network.events, "events at the broker that outlives the machine")


def upgrade(box: Box) -> None:
    """A later package, at first with a power cut on the way: the camera goes on, configuration and events stay."""
    files = box.type(FILES)
    recorded = box.recorded()
    raise_version(next(DEB.glob("vedette_*_amd64.deb")), box.home / "later.deb")
    command = "sudo apt-get install -y ./later.deb"
    unfinished = box.machine.start(command, "pi")
    unpacked = box.root / "opt/vedette/bin/vedette.dpkg-new"  # one of the first files; renamed when all are there
    wait_for(unpacked.exists, "dpkg to unpack")
    box.machine.cut_power()
    unfinished.communicate()
    box.machine.switch_on()
    box.machine.wait_until_up()
    after_cut = box.recorded()
    wait_for(lambda: box.recorded() > after_cut, "the camera to go on with what is there")
    box.type("sudo dpkg --configure -a")
    box.type(command)
    assert box.type("dpkg-query -W -f '${Status} ${Version}' vedette").startswith("install ok installed ")
    assert box.type("dpkg-query -W -f '${Version}' vedette").endswith("+later")
    assert box.type(FILES) == files
    wait_for(lambda: box.recorded() > recorded, "events after the upgrade")


def install_releases(box: Box) -> None:
    """A good release is accepted; a bad one is on probation when the power fails, and left after the next boot."""
    sign_altered(box.home / "cells-2.vedette", box.keys, name="cells", release=2)
    (box.home / "cells-2.vedette").chmod(0o600)
    box.type("sudo vedette install cells-2.vedette --camera door --probation 0.1 --max-ms 10000")
    wait_for(lambda: box.probation().get("outcome") == "accepted", "release 2 to be accepted", 120)

    sign_altered(box.home / "cells-3.vedette", box.keys, name="cells", release=3, threshold=0.001)
    box.type("sudo vedette install cells-3.vedette --probation 60 --max-ms 10000")
    wait_for(lambda: box.probation()["starts"], "the camera to start with release 3", 60)
    box.machine.cut_power()
    assert box.probation()["outcome"] == "running"
    before = box.recorded()
    box.machine.switch_on()
    box.machine.wait_until_up()
    wait_for(lambda: box.probation()["outcome"] == "rolled back", "release 3 to be left", 120)
    assert "decides differently" in box.probation()["reason"]
    wait_for(lambda: any(each["type"] == "vedette.model.rolled_back" for each in box.network.events()), "the event")
    wait_for(lambda: box.recorded() > before, "events after the power cut")
    (model,) = json.loads(box.type("sudo vedette models --json"))
    assert (model["current"], model["cameras"]) == (2, ["door"])


def test_the_page_leads_to_an_event_and_no_event_is_lost_in_the_life_of_the_box(
    box: Box, record_proof: Callable[..., None]
) -> None:
    box.machine.switch_on()
    box.machine.wait_until_up()
    started = time.monotonic()
    printed = follow_page(box)
    seconds = round(time.monotonic() - started, 1)
    assert len(printed) <= 5
    assert "the broker has it" in printed["sudo vedette setup"]
    assert "FAIL" not in printed["sudo vedette doctor"]
    (shown,) = [text for command, text in printed.items() if command.startswith("mosquitto_sub")]
    assert json.loads(shown)["type"].startswith("vedette.presence.")

    move_broker(box)
    upgrade(box)
    install_releases(box)
    assert "FAIL" not in box.type("sudo vedette doctor")

    # Every event from the first that the watched broker had to the last that was recorded.
    box.type("sudo systemctl stop vedette@door")
    last = box.recorded()
    wait_for(lambda: max(map(number_of, box.network.events())) == last, "the last event")
    numbers = [number_of(each) for each in box.network.events()]
    lost = set(range(min(numbers), last + 1)) - set(numbers)
    record_proof(
        tries=len(set(numbers)), losses=len(lost), repeated=len(numbers) - len(set(numbers)), page_seconds=seconds
    )
    assert not lost


def number_of(event: dict[str, Any]) -> int:
    """Its place in the outbox."""
    return int(event["sequence"])
