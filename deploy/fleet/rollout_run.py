"""A rollout from its first order to its end: the file, the log, the connection, and the engine between them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.errors import ConfigProblem

from .fleet_connection import FleetConnection
from .health_gate import Limits
from .inventory import FleetBox, Inventory
from .order_sender import make_sender
from .rings import split_rings
from .rollout_engine import RolloutEngine
from .rollout_record import BoxRecord, Rollout, write_rollout

POLL_SECONDS = 0.2
QUIET_SECONDS, LISTEN_SECONDS = 1.0, 60.0
MQTT_PARALLEL, HTTPS_PARALLEL = 10, 100


def listen(connection: FleetConnection, inventory: Inventory) -> None:
    """Receives retained messages until none has come for QUIET_SECONDS."""
    end, taken = time.monotonic() + LISTEN_SECONDS, -1
    while taken != inventory.taken and time.monotonic() < end:
        taken = inventory.taken
        connection.poll(QUIET_SECONDS)


def plan_rollout(
    path: Path, keyring: Keyring, boxes: list[FleetBox], rings: str, echo: Callable[[str], None], **settings: Any
) -> Rollout:
    """Plans a rollout of a bundle to the boxes that have its product; those that are offline are missed at first.

    Args:
        path: the bundle
        keyring: trusted keys
        boxes: the fleet, or the part of it that is meant
        rings: `5%,25%,100%`
        echo: takes a line about boxes that are left out
        settings: fields of the rollout: `source`, `minutes`, `max_ms`, `band`, `max_failed`, `parallel`

    Raises:
        BundleProblem: the bundle is faulty or not trusted.
        ConfigProblem: no box has the product, or a setting is wrong.
    """
    manifest = Bundle.open(path, keyring).manifest
    content = path.read_bytes()
    having = [box for box in boxes if manifest.name in box.products]
    older = [box for box in having if box.products[manifest.name].current != manifest.release]
    places, missed = [box.place for box in older if box.is_online], [box for box in older if not box.is_online]
    for box in missed:
        echo(f"{box.place}: missed, it is {box.state}")
    if not places:
        raise ConfigProblem(
            f"no box that is online has another release of {manifest.name} than {manifest.release}",
            hint="vedette fleet status lists the boxes; the first release of a product is installed at the box",
        )
    name = f"{manifest.name}-{manifest.release}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    return Rollout(
        name=name,
        product=manifest.name,
        release=manifest.release,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        rings=split_rings(places, rings, name),
        boxes={place: BoxRecord() for place in places} | {box.place: BoxRecord(state="missed") for box in missed},
        **settings,
    )


class RolloutRun:
    """Carries out a rollout with its file and its log.

    Args:
        rollout: the rollout, new or read
        file: its file; the log lies beside it, with the suffix .log
        connection: at the broker
        key: signs the orders
        bundle: the bundle, if the boxes get it over MQTT
        echo: takes a line for each step
        limits: how long to wait
        last_ring: number of the ring after which it pauses; None: the last
    """

    def __init__(
        self,
        rollout: Rollout,
        file: Path,
        connection: FleetConnection,
        key: Ed25519PrivateKey,
        bundle: bytes,
        echo: Callable[[str], None],
        limits: Limits = Limits(),  # noqa: B008  # a constant
        last_ring: int | None = None,
    ) -> None:
        self.rollout, self.file, self.connection, self.echo = rollout, file, connection, echo
        self.log = file.with_name(f"{file.name}.log").open("a", encoding="utf-8")
        sender = make_sender(rollout, connection, key, bundle)
        self.engine = RolloutEngine(rollout, connection.inventory, sender, self.save, self._tell, limits, last_ring)
        connection.on_answer = self.engine.take_answer

    def save(self) -> None:
        """Writes the file."""
        write_rollout(self.file, self.rollout)

    def go_on(self) -> bool:
        """Carries the rollout out until it is done, paused or stopped; returns whether it was not stopped."""
        if self.rollout.status == "paused" and self.engine.last_ring > self.rollout.ring:
            self.rollout.status = "running"
            self.rollout.ring += 1
        elif self.rollout.status == "done":
            self.rollout.add_missed()
            self.engine.last_ring = len(self.rollout.rings) - 1
        self._tell(f"{self.rollout.name}: rings of {', '.join(str(len(ring)) for ring in self.rollout.rings)} boxes")
        try:
            while self.engine.step():
                self.connection.poll(POLL_SECONDS)
        finally:
            self.connection.on_answer = lambda _place, _nonce, _payload: None
            self.save()
            self._tell(f"{self.rollout.status}: {describe_counts(self.rollout)}")
            self.log.close()
        return self.rollout.status in ("done", "paused")

    def _tell(self, line: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.log.write(f"{now} {line}\n")
        self.log.flush()
        self.echo(line)


def describe_counts(rollout: Rollout) -> str:
    """How many boxes are in which state."""
    return ", ".join(f"{count} {state}" for state, count in rollout.counts().items())
