"""The probation when several cameras, a full disk, or a person's own commands are involved."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

import pytest
from altered_bundles import stored_bundle

from vedette.runtime.bundle.release_memory import FILE_NAME as RELEASES
from vedette.runtime.config.configuration import Config, load_config
from vedette.runtime.installation.model_store import ModelStore
from vedette.runtime.installation.probation_monitor import ProbationMonitor
from vedette.runtime.installation.probation_record import MAX_STARTS, Conditions, Probation, ProbationRecord
from vedette.runtime.installation.probation_start import count_start_on_probation

NAME = "weave"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text("")
    for camera in ("door", "yard"):
        text = f'source = "file:x"\nbundle = "installed:{NAME}"\n[[rules]]\nuse = "presence"\n'
        (tmp_path / "cameras" / f"{camera}.toml").write_text(text)
    return tmp_path


@pytest.fixture
def record(folder: Path) -> ProbationRecord:
    """Release 1, which is that of the stored bundle, is on probation; release 9 is the one before."""
    store = ModelStore(folder / "state")
    for release in (9, 1):
        store.add(NAME, release, b"")
        store.switch(NAME, release)
    record = ProbationRecord(store, NAME)
    record.begin(Probation(release=1, previous=9, conditions=Conditions(minutes=0.0001)))
    return record


def camera(folder: Path, name: str = "door") -> Config:
    return load_config(folder, name)


def start_and_pass(settings: Config) -> ProbationMonitor:
    with count_start_on_probation(settings):
        monitor = ProbationMonitor(settings, stored_bundle())
        monitor.remember_release()
        time.sleep(0.01)
        assert not [kind for kind, _ in monitor.check() if kind == "rolled_back"]
    return monitor


def test_a_camera_that_passed_can_go_back_when_another_fails(folder: Path, record: ProbationRecord) -> None:
    record.count_start("yard")
    start_and_pass(camera(folder))
    assert record.running() is not None
    assert not (folder / "state" / "door" / RELEASES).exists()
    start_and_pass(camera(folder, "yard"))
    assert record.running() is None
    assert (folder / "state" / "yard" / RELEASES).exists()


def test_later_starts_of_a_camera_that_passed_do_not_count(folder: Path, record: ProbationRecord) -> None:
    record.count_start("yard")
    start_and_pass(camera(folder))
    for _ in range(MAX_STARTS + 1):
        assert record.count_start("door") == 0
    monitor = ProbationMonitor(camera(folder), stored_bundle())
    assert monitor.probation is None


def test_nobody_waits_for_a_camera_that_is_gone(folder: Path, record: ProbationRecord) -> None:
    record.count_start("yard")
    (folder / "cameras" / "yard.toml").unlink()
    start_and_pass(camera(folder))
    probation = record.read()
    assert probation is not None
    assert probation.outcome == "accepted"


def test_ends_in_order_do_not_count(folder: Path, record: ProbationRecord) -> None:
    for _ in range(MAX_STARTS + 1):
        with count_start_on_probation(camera(folder)):
            pass
    assert record.running() is not None


def test_a_store_that_cannot_be_written_does_not_end_the_daemon(
    folder: Path, record: ProbationRecord, caplog: pytest.LogCaptureFixture
) -> None:
    (record.store.folder / NAME / ".lock").unlink()
    (record.store.folder / NAME / ".lock").mkdir()
    with caplog.at_level(logging.WARNING):
        start_and_pass(camera(folder))
    assert "the probation is not noted" in caplog.text


def test_no_release_before_it_does_not_end_the_daemon(folder: Path, record: ProbationRecord) -> None:
    (record.store.folder / NAME / "previous").unlink()
    for _ in range(MAX_STARTS + 1):
        record.count_start("door")
    with count_start_on_probation(camera(folder)):
        pass
    assert record.store.find_model(NAME).current == 1


def test_an_installation_that_was_cut_off_is_no_rollback(record: ProbationRecord) -> None:
    record.begin(Probation(release=2, previous=1))
    assert record.untold() is None


def test_telling_an_old_outcome_leaves_a_new_probation(record: ProbationRecord) -> None:
    record.note_passed("door", ["door"])
    told = record.untold()
    assert told is not None
    record.begin(Probation(release=2, previous=1))
    record.mark_told(told)
    present = record.read()
    assert present is not None
    assert present.release == 2


def test_the_old_release_cannot_end_the_daemon(folder: Path, record: ProbationRecord) -> None:
    monitor = ProbationMonitor(camera(folder), stored_bundle())
    shutil.rmtree(record.store.folder / NAME / "9")
    assert (monitor.old, monitor.probation is not None) == (None, True)
