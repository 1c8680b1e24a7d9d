"""What a release on probation is blamed for, and a file of the store that somebody overwrote with another release."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from altered_bundles import sign_altered, stored_bundle

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.config.configuration import Config, load_config
from vedette.runtime.errors import BundleProblem, ConfigProblem, MachineProblem, Problem, RestartRequested
from vedette.runtime.installation.model_store import ModelStore
from vedette.runtime.installation.probation_monitor import ProbationMonitor
from vedette.runtime.installation.probation_record import MAX_STARTS, Conditions, Probation, ProbationRecord
from vedette.runtime.installation.probation_start import count_start_on_probation

NAME = "weave"
LABEL = stored_bundle().manifest.labels[0]

Release = Callable[..., bytes]


@pytest.fixture
def release(tmp_path: Path, key_folder: Path) -> Release:
    """The content of a bundle: its release, and other values of its manifest."""

    def make(number: int, **changes: Any) -> bytes:
        return sign_altered(tmp_path / "made.vedette", key_folder, release=number, **changes).read_bytes()

    return make


@pytest.fixture
def folder(tmp_path: Path, key_folder: Path) -> Path:
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text(f'[device]\nkeys = "{key_folder}"\n')
    return tmp_path


def make_camera(folder: Path, label: str = LABEL) -> Config:
    text = f'source = "file:x"\nbundle = "installed:{NAME}"\n[[rules]]\nuse = "presence"\nlabel = "{label}"\n'
    (folder / "cameras" / "door.toml").write_text(text)
    return load_config(folder, "door")


def put_on_probation(folder: Path, old: bytes, new: bytes) -> ProbationRecord:
    store = ModelStore(folder / "state")
    for number, content in ((1, old), (2, new)):
        store.add(NAME, number, content)
        store.switch(NAME, number)
    record = ProbationRecord(store, NAME)
    record.begin(Probation(release=2, previous=1, conditions=Conditions(minutes=60)))
    return record


def fail(settings: Config, problem: Problem) -> None:
    with count_start_on_probation(settings):
        raise problem


def test_a_release_without_a_label_of_the_camera_is_rolled_back(folder: Path, release: Release) -> None:
    labels = msgspec.structs.replace(stored_bundle().manifest, labels=("other",)).labels
    record = put_on_probation(folder, release(1), release(2, labels=labels))
    with pytest.raises(RestartRequested, match="no label"):
        fail(make_camera(folder), ConfigProblem("no label"))
    assert record.store.find_model(NAME).current == 1


def test_a_release_that_does_not_run_is_rolled_back(folder: Path, release: Release) -> None:
    record = put_on_probation(folder, release(1), release(2))
    with pytest.raises(RestartRequested, match="not reproduced"):
        fail(make_camera(folder), BundleProblem("golden outputs are not reproduced"))
    assert record.store.find_model(NAME).current == 1


@pytest.mark.parametrize(
    "problem",
    [ConfigProblem("broker.url: no such sink"), MachineProblem("no frame can be read")],
    ids=["configuration", "machine"],
)
def test_a_release_waits_while_something_else_is_wrong(
    folder: Path, release: Release, problem: Problem, caplog: pytest.LogCaptureFixture
) -> None:
    record = put_on_probation(folder, release(1), release(2))
    for _ in range(MAX_STARTS + 2):
        with pytest.raises(type(problem), match=problem.message), caplog.at_level(logging.WARNING):
            fail(make_camera(folder), problem)
    assert record.running() is not None
    assert "not to blame" in caplog.text


def test_a_release_waits_while_the_camera_file_fits_neither(folder: Path, release: Release) -> None:
    record = put_on_probation(folder, release(1), release(2))
    with pytest.raises(ConfigProblem):
        fail(make_camera(folder, "a label that no release has"), ConfigProblem("no label"))
    assert record.running() is not None


def test_a_release_waits_while_no_key_is_trusted(folder: Path, release: Release, tmp_path: Path) -> None:
    record = put_on_probation(folder, release(1), release(2))
    (tmp_path / "none").mkdir()
    (folder / "vedette.toml").write_text('[device]\nkeys = "none"\n')
    with pytest.raises(BundleProblem):
        fail(make_camera(folder), BundleProblem("signed by an unknown key"))
    assert record.running() is not None


def test_a_file_of_the_store_that_is_overwritten_runs_without_end(
    folder: Path, release: Release, key_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ModelStore(folder / "state")
    store.add(NAME, 1, release(1))
    store.switch(NAME, 1)
    path = store.bundle_path(NAME)
    path.write_bytes(release(2))
    running = Bundle.open(path, Keyring.read(key_folder))
    with caplog.at_level(logging.WARNING):
        monitor = ProbationMonitor(make_camera(folder), running)
    assert "release 2 runs in place of 1" in caplog.text
    for _ in range(3):
        monitor.last_check = float("-inf")
        assert not list(monitor.check())
    assert monitor.remembered
    store.add(NAME, 3, release(3))
    store.switch(NAME, 3)
    monitor.last_check = float("-inf")
    with pytest.raises(RestartRequested, match="release 3"):
        list(monitor.check())


def test_a_file_that_is_overwritten_while_its_release_runs_waits_for_the_next_start(
    folder: Path, release: Release, key_folder: Path
) -> None:
    store = ModelStore(folder / "state")
    store.add(NAME, 1, release(1))
    store.switch(NAME, 1)
    path = store.bundle_path(NAME)
    monitor = ProbationMonitor(make_camera(folder), Bundle.open(path, Keyring.read(key_folder)))
    path.write_bytes(release(2))
    assert not list(monitor.check())
