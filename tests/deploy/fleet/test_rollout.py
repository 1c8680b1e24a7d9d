"""Rollouts to simulated boxes at a real broker: they stop where they should, and nobody is left half-way."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from altered_bundles import sign_altered
from click.testing import CliRunner
from mosquitto import BINARY, Mosquitto
from simulated_fleet import CAMERA_FILE, PRODUCT, SimulatedFleet
from waiting import patience, wait_for

from vedette.deploy.commands.fleet import fleet as fleet_command
from vedette.deploy.fleet.configuration_rollout import plan_configuration
from vedette.deploy.fleet.fleet_connection import FleetConnection
from vedette.deploy.fleet.health_gate import Limits
from vedette.deploy.fleet.inventory import Inventory
from vedette.deploy.fleet.rollout_record import read_rollout
from vedette.deploy.fleet.rollout_run import RolloutRun, listen, plan_rollout
from vedette.deploy.provisioning.broker_files import render_broker_files
from vedette.deploy.provisioning.fleet_settings import OPERATOR, READER, FleetBroker
from vedette.deploy.provisioning.provision_state import Login
from vedette.runtime.bundle.keys import Keyring, read_private_key
from vedette.runtime.config.configuration import BrokerSettings

pytestmark = [
    pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto"),
    pytest.mark.wait,
]
LIMITS = Limits(order=60, offline=3 * patience(), settle=1, accept=60, leave=4 * patience(), retry=1)
BOXES = 30


class Plant:
    """Boxes at a broker, and an operator who rolls release 2 out to them."""

    def __init__(self, folder: Path, port: int, key_folder: Path, count=BOXES, port_of_boxes=None):
        self.folder, self.port, self.lines, self.count = folder, port, [], count
        self.key = read_private_key(key_folder / "vedette.key")
        self.keyring = Keyring.read(key_folder)
        self.bundle = sign_altered(folder / "two.vedette", key_folder, release=2)
        self.fleet = SimulatedFleet(port_of_boxes or port, self.keyring, folder / "boxes", {}, count)
        self.fleet.thread.start()
        self.inventory = Inventory("vedette")
        self.connect()
        self.wait_until(self._all_online, "the boxes")

    def wait_until(self, condition, what):
        wait_for(lambda: self.connection.poll(0.1) or condition(), what)

    def _all_online(self):
        boxes = self.inventory.boxes.values()
        return sum(box.is_online and PRODUCT in box.products for box in boxes) == self.count

    def connect(self):
        self.inventory.boxes.clear()
        self.connection = FleetConnection(BrokerSettings(url=f"mqtt://127.0.0.1:{self.port}"), self.inventory)

    def plan(self, rings="2,12,30", max_failed="2"):
        settings = {"source": "https://plant/two.vedette", "minutes": 0.02, "max_failed": max_failed, "parallel": 50}
        self.rollout = plan_rollout(
            self.bundle, self.keyring, self.inventory.find(), rings, self.lines.append, **settings
        )
        return self.rollout

    def run(self, last_ring=None):
        return RolloutRun(
            self.rollout,
            self.folder / "rollout.json",
            self.connection,
            self.key,
            b"",
            self.lines.append,
            LIMITS,
            last_ring,
        )

    def releases(self, places=None):
        return {self.fleet.boxes[place].current(PRODUCT) for place in places or self.fleet.boxes}


@pytest.fixture
def make_plant(tmp_path, mosquitto, key_folder):
    plants = []

    def make(**more):
        plants.append(Plant(tmp_path, mosquitto.port, key_folder, **more))
        return plants[-1]

    yield make
    for plant in plants:
        plant.fleet.stop()


def test_a_good_release_reaches_all_boxes_after_a_pause_and_a_cut(make_plant):
    """The first ring alone, then on; the program is cut off in the middle, and a new one goes on from the file.

    A box that is away when its turn comes gets the release when the finished rollout is run again.
    """
    plant = make_plant()
    away = plant.fleet.boxes[plant.plan().rings[2][0]]
    plant.fleet.requests.append(away.cut)
    plant.wait_until(lambda: not plant.inventory.boxes[away.place].is_online, "the box to go")
    assert plant.run(last_ring=0).go_on()
    assert (plant.rollout.status, plant.rollout.counts()) == ("paused", {"accepted": 2, "waiting": 28})
    run = plant.run()
    plant.rollout.status, plant.rollout.ring = "running", 1
    for _ in range(3):
        run.engine.step()
        plant.connection.poll(0.1)
    run.log.close()
    plant.connection.close()
    plant.connect()
    listen(plant.connection, plant.inventory)
    plant.rollout = read_rollout(plant.folder / "rollout.json")
    assert plant.rollout.status == "running"
    assert plant.run().go_on()
    assert plant.rollout.counts() == {"accepted": BOXES - 1, "missed": 1}
    plant.fleet.requests.append(away.connect)
    plant.wait_until(lambda: plant.inventory.boxes[away.place].is_online, "the box to come back")
    assert plant.run().go_on()
    assert plant.rollout.counts() == {"accepted": BOXES}
    assert plant.releases() == {2}
    assert {box.installations for box in plant.fleet.boxes.values()} == {1}, "no order was obeyed twice"
    assert "ring 4: 1 of 1 boxes accepted, 0 failed" in (plant.folder / "rollout.json.log").read_text()


def test_a_configuration_stops_in_its_ring_comes_back_and_goes_through_when_it_is_mended(make_plant):
    """Three boxes of the second ring fail; then the same part again, with more failures allowed; then all go back."""
    plant = make_plant()
    settings = {"parallel": 50, "max_failed": "2"}
    part = '[[rules]]\nuse = "presence"\ndebounce = 3\n[gate]\nseconds = 2.0\n'
    plant.rollout = rollout = plan_configuration(
        part, plant.inventory.find(), "2,12,30", plant.lines.append, **settings
    )
    for fault, place in zip(("install", "probation", "flood"), rollout.rings[1], strict=False):
        plant.fleet.boxes[place].fault = fault
    assert not plant.run().go_on()
    assert rollout.reason == "3 of 10 boxes of ring 2 of 3 failed; at most 2 may"
    boxes = plant.fleet.boxes

    def changed(places):
        return {boxes[place].file.read_text() != CAMERA_FILE for place in places}

    assert [changed(ring) for ring in rollout.rings] == [{True}, {False}, {False}]
    reasons = [rollout.boxes[place].reason for place in rollout.rings[1][:3]]
    assert "no label scratch" in reasons[0]
    assert "does not run" in reasons[1]
    assert "100000" in reasons[2] or "events a minute" in reasons[2]
    run = plant.run()
    run.engine.limits = LIMITS._replace(leave=60)
    run.engine.start_leaving("its user took it back")
    run.go_on()
    assert changed(boxes) == {False}
    for box in boxes.values():
        box.fault = ""
    plant.rollout = plan_configuration(part, plant.inventory.find(), "30", plant.lines.append, **settings)
    assert plant.run().go_on()
    assert (plant.rollout.counts(), changed(boxes)) == ({"accepted": 30}, {True})
    text = boxes[rollout.rings[2][0]].file.read_text()
    assert tomllib.loads(text) == tomllib.loads(CAMERA_FILE) | tomllib.loads(part)

    # Given up too early, and tried again: each box gets the same order again, and does the work once.
    def orders():
        memories = [box.configuration.memory.path.read_bytes() for box in boxes.values()]
        return sum(len(json.loads(memory)["orders"]) for memory in memories)

    known = orders()
    run = plant.run()
    run.engine.limits = LIMITS._replace(leave=-1.0)
    run.engine.start_leaving("its user took it back")
    run.go_on()
    assert plant.rollout.counts() == {"unreachable": 30}
    run = plant.run()
    run.engine.limits = LIMITS._replace(leave=60)
    run.engine.start_leaving("its user took it back")
    run.go_on()
    assert (plant.rollout.counts(), changed(boxes)) == ({"left": 30}, {False})
    assert orders() == known + 30


def test_a_bad_release_stops_in_its_ring_and_leaves_nobody_half_way(make_plant):
    """Five boxes of the second ring fail, each in its way: the ring goes back, the first one stays, the rest waits."""
    plant = make_plant()
    rollout = plant.plan()
    faulty = dict(zip(("install", "probation", "crash", "gone", "flood"), rollout.rings[1], strict=False))
    for fault, place in faulty.items():
        plant.fleet.boxes[place].fault = fault
    assert not plant.run().go_on()
    assert rollout.status == "stopped"
    assert re.match(r"[3-5] of 10 boxes of ring 2 of 3 failed; at most 2 may", rollout.reason)
    assert {rollout.boxes[place].state for place in rollout.rings[0]} == {"accepted"}
    assert {rollout.boxes[place].state for place in rollout.rings[2]} == {"waiting"}
    assert {rollout.boxes[place].state for place in rollout.rings[1]} <= {"left", "failed", "unreachable"}
    there = [place for place in rollout.rings[1] if place != faulty["gone"]]
    assert (plant.releases(rollout.rings[0]), plant.releases(rollout.rings[2])) == ({2}, {1})
    assert plant.releases(there) == {1}
    assert rollout.boxes[faulty["gone"]].state == "unreachable"
    plant.fleet.requests.append(plant.fleet.boxes[faulty["gone"]].connect)
    run = plant.run()
    run.engine.start_leaving("its user took it back")
    run.go_on()
    assert plant.releases() == {1}, "the box that was gone and the first ring went back, too"
    assert not rollout.counts().get("unreachable")


def test_the_fleet_is_listed_and_exported(make_plant, tmp_path, monkeypatch):
    monkeypatch.setattr("vedette.deploy.fleet.rollout_run.QUIET_SECONDS", 0.3)
    plant = make_plant()
    broker = ["--broker", f"mqtt://127.0.0.1:{plant.port}", "--from", str(tmp_path)]

    def say(*arguments):
        done = CliRunner().invoke(fleet_command, [*arguments, *broker], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    assert "10 boxes: 10 online" in say("status", "--only", "plant/hall/line1/*")
    rows = json.loads(say("export", "--format", "json"))
    assert len(rows) == BOXES
    assert {(row["product"], row["current"], row["events_per_minute"]) for row in rows} == {(PRODUCT, 1, 2.0)}
    listed = say("export").splitlines()
    assert (len(listed), listed[0].split(",")[:2]) == (BOXES + 1, ["place", "state"])


def test_a_rollout_crosses_a_bridge(make_plant, mosquitto, tmp_path):
    """The boxes talk to the broker of their plant, bridged by the provisioned example; the operator to another one."""
    logins = dict.fromkeys((OPERATOR, READER), Login("", ""))
    text = render_broker_files(FleetBroker(url="mqtts://plant:8883"), (), logins)["bridge.conf.example"]
    of_login = ("bridge_capath", "remote_username", "remote_password")
    lines = [line for line in text.splitlines() if not line.startswith(of_login)]
    bridge = "\n".join(lines).replace("broker.example.com:8883", f"127.0.0.1:{mosquitto.port}")
    of_plant = Mosquitto(tmp_path / "plant", f"{bridge}\n")
    of_plant.start()
    try:
        plant = make_plant(count=6, port_of_boxes=of_plant.port)
        rollout = plant.plan("1,6")
        assert plant.run().go_on()
        assert (rollout.counts(), plant.releases()) == ({"accepted": 6}, {2})
        assert {box.installations for box in plant.fleet.boxes.values()} == {1}
    finally:
        plant.fleet.stop()
        of_plant.kill()
