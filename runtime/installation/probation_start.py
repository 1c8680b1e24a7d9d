"""The starts of a release on probation: counted before anything of it is loaded, and what a start that fails means."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from ..config.configuration import Config
from ..errors import Problem, RestartRequested
from .model_store import ModelStore
from .probation_record import MAX_STARTS, Probation, ProbationRecord
from .release_fit import is_release_to_blame

log = logging.getLogger(__name__)


@contextlib.contextmanager
def count_start_on_probation(settings: Config) -> Iterator[None]:
    """Counts the start of a camera whose release is on probation, before anything of the release is loaded.

    A release that was started too often, that cannot be run, or that the camera's file does not fit although the one
    before it does, is rolled back. A daemon that ends in order does not count, and neither does one that the camera's
    own file, the broker's address or the machine ended: the probation waits until that is mended.

    Raises:
        RestartRequested: the release was rolled back; the next start has the one before.
    """
    record = find_record(settings)
    if record is None:
        yield
        return
    with only_logged():
        starts = record.count_start(settings.camera)
        if starts > MAX_STARTS:
            record.roll_back(f"{settings.camera} ended {starts - 1} times within the probation")
    try:
        yield
    except RestartRequested:
        raise
    except Problem as problem:
        roll_back_if_to_blame(problem, settings)
        raise
    with only_logged():
        record.forget_start(settings.camera)


def roll_back_if_to_blame(problem: Problem, settings: Config) -> None:
    """Rolls the release of a camera back if it is on probation, and to blame for a problem at the start.

    Raises:
        RestartRequested: it was rolled back; the next start has the one before.
    """
    record, ended = find_record(settings), None
    if record is not None:
        with only_logged():
            ended = _judge(problem, settings, record)
        if ended is not None:
            raise restart_after(record, ended) from problem


def _judge(problem: Problem, settings: Config, record: ProbationRecord) -> Probation | None:
    """Rolls the release back if it is to blame for the end of a start; None: it is not."""
    probation = record.running()
    if probation is None:
        return None
    if is_release_to_blame(problem, settings, probation.release, probation.previous):
        return record.roll_back(problem.message)
    record.forget_start(settings.camera)
    log.warning("release %d of %s is not to blame: its probation waits", probation.release, record.name)
    return None


@contextlib.contextmanager
def only_logged() -> Iterator[None]:
    """Logs what is wrong with the store, such as a full disk: the camera goes on without its probation."""
    try:
        yield
    except RestartRequested:
        raise
    except Problem as problem:
        log.warning("the probation is not noted: %s; %s", problem.message, problem.hint)


def find_record(settings: Config) -> ProbationRecord | None:
    """The record of the product that the camera runs; None: its bundle is a path."""
    return ProbationRecord(ModelStore(settings.state), settings.installed) if settings.installed else None


def restart_after(record: ProbationRecord, ended: Probation) -> RestartRequested:
    """Ends the daemon of a release that was rolled back."""
    message = f"release {ended.release} of {record.name} failed its probation: {ended.reason}"
    hint = f"release {ended.previous} takes over at the next start, which the service does by itself"
    return RestartRequested(message, hint=hint)
