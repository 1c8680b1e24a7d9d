"""Rollouts to 1,000 simulated boxes at a real mosquitto: `make bench-fleet`; `--configurations`: of configurations.

The boxes run in a process of their own, with the handler of orders, keyring and memory of the product; three of them
have the real store of models. Faults are drawn by seed: 3 % of the boxes, in five ways. The expected end of a rollout
follows from the faults and the rings alone, and is compared with the one that came.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import click
from altered_bundles import sign_altered
from mosquitto import Mosquitto
from simulated_fleet import FAULTS, PRODUCT, SimulatedFleet

from vedette.deploy.fleet.configuration_rollout import plan_configuration
from vedette.deploy.fleet.fleet_connection import FleetConnection
from vedette.deploy.fleet.health_gate import Limits
from vedette.deploy.fleet.inventory import Inventory
from vedette.deploy.fleet.rings import allowed_failures
from vedette.deploy.fleet.rollout_record import Rollout, read_rollout
from vedette.deploy.fleet.rollout_run import RolloutRun, listen, plan_rollout
from vedette.runtime.bundle.keys import Keyring, generate_key_pair, read_private_key
from vedette.runtime.config.configuration import BrokerSettings

LIMITS = Limits(order=120, offline=10, settle=1, accept=120, leave=20, retry=5)
CONFIGURATION_LIMITS = LIMITS._replace(settle=5, leave=60)
"""A box tells of no probation; faults show within this time."""
RINGS = "5%,25%,100%"
MAX_ROLLBACKS = 3
PART = '[[rules]]\nuse = "presence"\ndebounce = 3\n'
CUT_AFTER = 4
"""Steps after which the first program of a rollout is abandoned."""


def serve_boxes(pipe: Connection, port: int, keys: Path, folder: Path, faults: dict[int, str], count: int) -> None:
    """The process of the boxes: on `releases` it answers what each runs, on `return` those that were gone come back."""
    fleet = SimulatedFleet(port, Keyring.read(keys), folder, faults, count)
    fleet.thread.start()
    while (request := pipe.recv()) != "end":
        if request == "return":
            fleet.requests.extend(box.connect for box in fleet.boxes.values() if box.fault == "gone" and not box.client)
        boxes = fleet.boxes.items()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        pipe.send((memory, {place: (box.level(), box.installations, box.fault) for place, box in boxes}))
    fleet.stop()


def expect_stop(rollout: Rollout, faulty: set[str]) -> int | None:
    """The ring in which a rollout must stop; None: none."""
    for number, ring in enumerate(rollout.rings):
        if len(faulty.intersection(ring)) > allowed_failures(rollout.max_failed, len(ring)):
            return number
    return None


class Plant:
    """A broker, the boxes in a process of their own, and the program that commands them."""

    def __init__(self, seed: int, count: int, share: float) -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        keys = self.folder / "keys"
        generate_key_pair(keys)
        self.key, self.keyring = read_private_key(keys / "vedette.key"), Keyring.read(keys)
        self.bundle = sign_altered(self.folder / "two.vedette", keys, release=2)
        numbers = random.Random(seed).sample(range(count), round(share * count))
        self.faults = {number: FAULTS[index % len(FAULTS)] for index, number in enumerate(numbers)}
        self.broker = Mosquitto(self.folder / "broker")
        self.broker.start()
        self.pipe, other = multiprocessing.Pipe()
        arguments = (other, self.broker.port, keys, self.folder / "boxes", self.faults, count)
        self.process = multiprocessing.Process(target=serve_boxes, args=arguments, daemon=True)
        self.process.start()
        self.connect()
        while sum(PRODUCT in box.products for box in self.inventory.boxes.values()) < count:
            self.connection.poll(0.5)

    def connect(self) -> None:
        """Connects, as a program does that was just started."""
        self.inventory = Inventory("vedette")
        address = BrokerSettings(url=f"mqtt://127.0.0.1:{self.broker.port}")
        self.connection = FleetConnection(address, self.inventory)
        listen(self.connection, self.inventory)

    def make_run(self, rollout: Rollout) -> RolloutRun:
        """A run of the rollout with its file."""
        file = self.folder / "rollout.json"
        limits = LIMITS if not rollout.part else CONFIGURATION_LIMITS
        return RolloutRun(rollout, file, self.connection, self.key, b"", lambda _: None, limits)

    def ask(self, request: str) -> tuple[float, dict[str, tuple[int, int, str]]]:
        """The memory of the boxes' process in MB; of each box its release, how often it installed, its fault."""
        self.pipe.send(request)
        memory, boxes = self.pipe.recv()
        return memory, boxes

    def close(self) -> None:
        """Ends the processes."""
        self.pipe.send("end")
        self.process.join(30)
        self.process.kill()
        self.broker.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def plan(plant: Plant, limit: str, *, of_configuration: bool) -> Rollout:
    """A rollout to all boxes."""
    boxes, settings = plant.inventory.find(), {"max_failed": limit, "parallel": 100}
    if of_configuration:
        return plan_configuration(PART, boxes, RINGS, click.echo, **settings)
    settings |= {"source": "https://plant/two", "minutes": 0.02}
    return plan_rollout(plant.bundle, plant.keyring, boxes, RINGS, click.echo, **settings)


def run_rollout(
    seed: int, count: int, share: float, limit: str, *, cut: bool, of_configuration: bool
) -> dict[str, Any]:
    """One rollout; returns its figures."""
    plant = Plant(seed, count, share)
    try:
        started = time.monotonic()
        rollout = plan(plant, limit, of_configuration=of_configuration)
        if cut:
            run = plant.make_run(rollout)
            for _ in range(CUT_AFTER):
                run.engine.step()
                plant.connection.poll(0.2)
            plant.connection.close()
            plant.connect()
            read = read_rollout(run.file)
            assert read is not None
            rollout = read
        plant.make_run(rollout).go_on()
        seconds = time.monotonic() - started
        memory, boxes = plant.ask("releases")
        figures = compare(rollout, boxes) | {"seconds": round(seconds, 1), "MB of the boxes": round(memory)}
        if rollout.counts().get("unreachable"):
            plant.ask("return")
            runs, started = 0, time.monotonic()
            while runs == 0 or (rollout.counts().get("unreachable") and runs < MAX_ROLLBACKS):
                run = plant.make_run(rollout)
                run.engine.start_leaving("taken back")
                run.go_on()
                runs += 1
            still = sum(release != 1 for release, _, _ in plant.ask("releases")[1].values())
            figures["fleet rollback"] = {"runs": runs, "on release 2": still, "seconds": time.monotonic() - started}
        of_run = {"seed": seed, "boxes": count, "faulty": len(plant.faults), "max failed": limit, "resumed": cut}
        return of_run | figures
    finally:
        plant.close()


def compare(rollout: Rollout, boxes: dict[str, tuple[int, int, str]]) -> dict[str, Any]:
    """Where the rollout ended, where it should have, and the boxes that are not where they belong."""
    expected = expect_stop(rollout, {place for place, (_, _, fault) in boxes.items() if fault})
    stopped = rollout.ring if rollout.status == "stopped" else None
    wrong = Counter[str]()
    for number, ring in enumerate(rollout.rings):
        for place in ring:
            release, installations, fault = boxes[place]
            state = rollout.boxes[place].state
            kept = number < rollout.ring or rollout.status == "done"
            wanted = 2 if kept and not fault else 1
            if release != wanted and not (fault == "gone" and state == "unreachable"):
                wrong[f"ring {number + 1}: release {release} in state {state}, fault {fault or 'none'}"] += 1
            if installations > 1:
                wrong["installed twice"] += 1
    ends = {"stopped in ring": None if stopped is None else stopped + 1}
    ends["should stop in ring"] = None if expected is None else expected + 1
    return ends | {"states": rollout.counts(), "half-way": dict(wrong)}


def main() -> None:
    """Prints a line of JSON for each rollout, and ends with 1 if one was not as it should be."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--boxes", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--configurations", action="store_true")
    options = parser.parse_args()
    bad = 0
    runs = [(0, 0.0, "2%")] + [(seed, 0.03, limit) for seed in range(1, options.seeds + 1) for limit in ("2%", "6%")]
    for seed, share, limit in runs:
        cut, kind = seed > 0 and seed % 2 == 0, options.configurations
        figures = run_rollout(seed, options.boxes, share, limit, cut=cut, of_configuration=kind)
        bad += figures["stopped in ring"] != figures["should stop in ring"] or bool(figures["half-way"])
        click.echo(json.dumps(figures))
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
