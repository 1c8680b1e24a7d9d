"""The file of a rollout: what was ordered, and how each box does. With it a rollout goes on where it was cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from vedette.runtime.atomic_file import write_atomically
from vedette.runtime.errors import UNREADABLE, ConfigProblem

BoxState = Literal["waiting", "ordered", "installed", "accepted", "failed", "leaving", "left", "unreachable", "missed"]
"""`installed`: it runs the release and is watched. `leaving`: it is ordered to go back. `failed`: it does not run the
release. `unreachable`: it did not go back, or does not answer; its own probation decides what it runs.
`missed`: it was offline when its turn came, and is as it was."""
Status = Literal["running", "paused", "stopping", "stopped", "done"]


class BoxRecord(msgspec.Struct):
    """One box of a rollout."""

    state: BoxState = "waiting"
    was: int | None = None
    """Release before."""
    nonce: str = ""
    """Of the last order."""
    issued: int = 0
    expires: int = 0
    reason: str = ""
    """Why it failed."""
    since: float = 0.0
    """When the state began, seconds since 1970."""
    cameras: tuple[str, ...] = ()
    """Cameras that were online when the box was ordered to install."""
    events_per_minute: dict[str, float] = {}
    """Of these cameras, before."""
    losses: int = 0
    """Connections of its cameras that had died before."""
    camera: str = ""
    """Of a rollout of a configuration: the camera whose file changes."""
    applied: str = ""
    """Nonce of the last order to take the release or the configuration."""


class Rollout(msgspec.Struct, kw_only=True):
    """The whole file."""

    format: Literal[1] = 1
    name: str
    product: str
    release: int
    sha256: str
    bytes: int
    source: str
    minutes: float
    max_ms: float | None = None
    band: float = 0.05
    max_failed: str
    parallel: int
    """Boxes that fetch and install at the same time."""
    rings: list[list[str]]
    ring: int = 0
    status: Status = "running"
    reason: str = ""
    """Why it was stopped."""
    boxes: dict[str, BoxRecord]
    part: str = ""
    """Of a rollout of a configuration: what replaces tables and keys of the cameras' files. `product` is empty then."""
    camera: str = ""
    """The camera of each box; empty: its only one."""

    def of_ring(self) -> dict[str, BoxRecord]:
        """The boxes of the present ring."""
        return {place: self.boxes[place] for place in self.rings[self.ring]}

    def add_missed(self) -> None:
        """Makes a new last ring of the boxes that were missed, and goes on with it."""
        missed = [place for place, box in self.boxes.items() if box.state == "missed"]
        if not missed:
            return
        self.rings = [*([place for place in ring if place not in missed] for ring in self.rings), missed]
        self.ring, self.status = len(self.rings) - 1, "running"
        for place in missed:
            self.boxes[place].state = "waiting"

    def counts(self) -> dict[str, int]:
        """Number of boxes by state."""
        states = [box.state for box in self.boxes.values()]
        return {state: states.count(state) for state in sorted(set(states))}


def read_rollout(path: Path) -> Rollout | None:
    """Reads the file of a rollout; None: there is none.

    Raises:
        ConfigProblem: it is damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Rollout)
    except FileNotFoundError:
        return None
    except (OSError, *UNREADABLE) as error:
        raise ConfigProblem(f"{path}: not a rollout: {error}", hint="name another --file") from None


def write_rollout(path: Path, rollout: Rollout) -> None:
    """Writes the file in one step.

    Raises:
        MachineProblem: the disk does not take it.
    """
    write_atomically(path, msgspec.json.encode(rollout) + b"\n", "free space, or name another --file")
