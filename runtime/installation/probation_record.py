"""The record of a probation: what a new release may do, how often it was started, and how it ended.

It lies beside the releases of the product and is written before a model is loaded. So a start that kills the process is
counted, too, as boot loaders count starts.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Literal

import msgspec

from ..atomic_file import write_atomically
from .model_store import ModelStore

log = logging.getLogger(__name__)

FILE_NAME = "probation.json"
MAX_STARTS = 3
"""A camera may start so often with a release on probation; at the next start it is rolled back."""

SLOWER = 3.0
"""Where nothing says how fast the release must be, it may take so many times as long as the one before."""
AS_FAST = 1.25
"""A release that takes no longer than this many times the one before stays, even above the goal of its build: the
machine is slow or busy, and going back would not help. A limit that its user sets counts in any case."""


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What a release on probation must keep to."""

    minutes: float = 10.0
    """Time that a camera must run with it without a break."""
    max_ms: float | None = None
    """Most milliseconds of the 95th percentile of a frame; None: SLOWER times what the old release takes."""
    band: float = 0.05
    """Share of frames on which the new and the old release may decide differently."""


class Probation(msgspec.Struct, frozen=True, kw_only=True):
    """The probation of one release."""

    release: int
    previous: int
    conditions: Conditions = Conditions()
    starts: dict[str, int] = {}
    """How often each camera has started with it, without the starts that ended in order."""
    passed: tuple[str, ...] = ()
    """Cameras that kept to the conditions for the whole time."""
    outcome: Literal["running", "accepted", "rolled back"] = "running"
    reason: str = ""
    """Why it was rolled back."""
    told: bool = False
    """The outcome is in an outbox as an event."""


class ProbationRecord:
    """The file of one product.

    Args:
        store: the installed models
        name: the product
    """

    def __init__(self, store: ModelStore, name: str) -> None:
        self.store, self.name = store, name
        self.path = store.folder / name / FILE_NAME

    def read(self) -> Probation | None:
        """The last probation; None: there was none, or the file is damaged, which is logged."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Probation)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.warning("%s is not readable, so the release is on no probation: %s", self.path, error)
            return None

    def begin(self, probation: Probation) -> None:
        """Puts a release on probation, before it is current."""
        with self.store.lock(self.name):
            self._write(probation)

    def running(self) -> Probation | None:
        """The probation of the current release; None: it is on none."""
        probation = self.read()
        if probation is None or probation.outcome != "running":
            return None
        return probation if probation.release == self.store.find_model(self.name).current else None

    def count_start(self, camera: str) -> int:
        """Counts a start of a camera with the release on probation; returns how many there were.

        Returns 0 if there is no probation, or this camera has passed it.
        """
        with self.store.lock(self.name):
            probation = self.running()
            if probation is None or camera in probation.passed:
                return 0
            starts = probation.starts | {camera: probation.starts.get(camera, 0) + 1}
            self._write(msgspec.structs.replace(probation, starts=starts))
            return starts[camera]

    def forget_start(self, camera: str) -> None:
        """Takes back the last count of a camera, whose daemon ended in order."""
        with self.store.lock(self.name):
            probation = self.running()
            if probation is not None and probation.starts.get(camera, 0) > 0:
                starts = probation.starts | {camera: probation.starts[camera] - 1}
                self._write(msgspec.structs.replace(probation, starts=starts))

    def note_passed(self, camera: str, cameras: Collection[str]) -> None:
        """Notes that a camera kept to the conditions; the release is accepted if all that started have.

        Args:
            camera: the camera
            cameras: those whose files name the product; nobody waits for others, which are gone
        """
        with self.store.lock(self.name):
            probation = self.running()
            if probation is None:
                return
            passed = tuple(sorted({*probation.passed, camera}))
            accepted = set(probation.starts) & set(cameras) <= set(passed)
            outcome = "accepted" if accepted else "running"
            self._write(msgspec.structs.replace(probation, passed=passed, outcome=outcome))

    def roll_back(self, reason: str) -> Probation | None:
        """Makes the previous release the current one, and notes why; None: the release is on no probation any more.

        Raises:
            Problem: there is no release to go back to, or the disk does not take it.
        """
        with self.store.lock(self.name):
            if (probation := self.running()) is None:
                return None
            self.store.roll_back(self.name)
            ended = msgspec.structs.replace(probation, outcome="rolled back", reason=reason)
            self._write(ended)
            return ended

    def read_as_it_stands(self) -> Probation | None:
        """The last probation with the outcome that holds for the current release; None: it says nothing about that.

        A rollback that was cut off left `running` in the record, and a later installation or rollback leaves an outcome
        that is no longer true.
        """
        probation = self.read()
        if probation is None:
            return None
        if probation.outcome == "running":
            probation = self._end_if_cut_off(probation)
        is_current = probation.release == self.store.find_model(self.name).current
        return probation if is_current == (probation.outcome != "rolled back") else None

    def untold(self) -> Probation | None:
        """The probation that ended and is in no outbox yet; None: there is none."""
        probation = self.read()
        if probation is None or probation.told:
            return None
        if probation.outcome == "running":
            probation = self._end_if_cut_off(probation)
        return None if probation.outcome == "running" else probation

    def _end_if_cut_off(self, probation: Probation) -> Probation:
        """The same probation; or, if its rollback was cut off after the switch, one that was rolled back."""
        if not probation.starts or self.store.find_model(self.name).current != probation.previous:
            return probation  # it runs, or is about to become the current one, or its installation was cut off
        reason = "its release before is current again, and the reason was not noted"
        return msgspec.structs.replace(probation, outcome="rolled back", reason=reason)

    def mark_told(self, probation: Probation) -> None:
        """Notes that the outcome is in an outbox."""
        with self.store.lock(self.name):
            present = self.read()
            if present is not None and (present.release, present.starts) == (probation.release, probation.starts):
                self._write(msgspec.structs.replace(probation, told=True))

    def _write(self, probation: Probation) -> None:
        write_atomically(self.path, msgspec.json.encode(probation) + b"\n", "free space on the disk")
