"""What `vedette install` takes along, refuses, and leaves readable for the daemon; without a daemon."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from altered_bundles import sign_altered
from click.testing import CliRunner

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.bundle.local_recalibration import open_bundle, write_recalibration
from vedette.runtime.calibration.good_scores import GoodScores
from vedette.runtime.calibration.recalibration import Recalibration
from vedette.runtime.commands.models import models
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.inference import golden_outputs
from vedette.runtime.installation import installer
from vedette.runtime.installation.camera_bundle import last_good_file, point_to_installed, restore_last_good
from vedette.runtime.installation.installation_check import check_bundle, preview_installation
from vedette.runtime.installation.installer import install_bundle
from vedette.runtime.installation.model_store import ModelStore
from vedette.runtime.installation.orders.installed_products import describe_products
from vedette.runtime.installation.probation_record import Conditions, ProbationRecord

NAME = "weave"
NOBODY = pwd.getpwnam("nobody")


class _Ran:
    version = "not run here"


@pytest.fixture(autouse=True)
def no_golden_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are reproduced in test_installation.py; here they would cost a second each."""
    assert installer.select_backend is golden_outputs.select_backend
    monkeypatch.setattr(installer, "select_backend", lambda *_: _Ran)


@pytest.fixture
def folder(tmp_path: Path, key_folder: Path) -> Path:
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text(f'[device]\nkeys = "{key_folder}"\n')
    return tmp_path


@pytest.fixture
def bundle(tmp_path: Path, key_folder: Path) -> Callable[..., Path]:
    def make(release: int, **changes: Any) -> Path:
        return sign_altered(tmp_path / f"{release}.vedette", key_folder, release=release, **changes)

    return make


def add_camera(folder: Path, bundle: str, rule: str = 'use = "presence"', camera: str = "door") -> Path:
    path = folder / "cameras" / f"{camera}.toml"
    path.write_text(f'source = "file:x"\nbundle = "{bundle}"\n[[rules]]\n{rule}\n')
    return path


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act for another user")
def test_root_installs_from_a_folder_that_the_daemon_cannot_read(
    folder: Path, bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, state = tmp_path / "home", tmp_path / "state"
    home.mkdir(mode=0o700)
    state.mkdir()
    os.chown(state, NOBODY.pw_uid, NOBODY.pw_gid)
    each = tmp_path
    while each != each.parent and each.stat().st_uid == 0 and each != Path("/tmp"):
        each.chmod(0o755)  # of pytest, which keeps them from others
        each = each.parent
    path = bundle(1).rename(home / "weave.vedette")
    monkeypatch.chdir(home)
    install_bundle(path, folder, Conditions())
    store = ModelStore(state)
    assert store.bundle_path(NAME).read_bytes() == path.read_bytes()
    assert store.bundle_path(NAME).stat().st_uid == NOBODY.pw_uid
    assert os.geteuid() == 0


def test_a_recalibration_goes_along(folder: Path, bundle: Callable[..., Path], key_folder: Path) -> None:
    keys = Keyring.read(key_folder)
    old, new = bundle(1), bundle(2)
    add_camera(folder, str(old))
    opened = Bundle.open(old, keys)
    scores = GoodScores(60, 0.1, (0.05, 0.2), (0.1, 0.2), (0.5, 0.1))
    recalibration = Recalibration(0.0, 0.321, 60, 0.01, 0.05, 0.01, 300, scores, "2026-01-01")
    write_recalibration(opened, recalibration)
    install_bundle(new, folder, Conditions(), ["door"])
    store = ModelStore(folder / "state")
    assert open_bundle(store.folder / NAME / "1" / "bundle.vedette", keys).manifest.threshold == 0.321
    assert not open_bundle(store.bundle_path(NAME), keys).manifest.local_digest


def test_rules_that_do_not_fit_are_refused(folder: Path, bundle: Callable[..., Path]) -> None:
    add_camera(folder, f"installed:{NAME}", 'use = "presence"\nlabel = "cat"')
    with pytest.raises(ConfigProblem, match="cat"):
        install_bundle(bundle(1), folder, Conditions())
    assert ModelStore(folder / "state").list_models() == []


def test_a_release_on_probation_is_none_to_go_back_to(folder: Path, bundle: Callable[..., Path]) -> None:
    for release in (1, 2, 3):
        install_bundle(bundle(release), folder, Conditions())
    store = ModelStore(folder / "state")
    model = store.find_model(NAME)
    assert (model.current, model.previous, model.releases) == (3, 1, (1, 3))
    assert install_bundle(bundle(3), folder, Conditions(minutes=0)).probation_minutes == 0
    record = ProbationRecord(store, NAME)
    assert record.running() is None
    assert store.find_model(NAME).previous == 1


def test_a_preview_tells_what_the_installation_then_does(folder: Path, bundle: Callable[..., Path]) -> None:
    add_camera(folder, f"installed:{NAME}")
    store = ModelStore(folder / "state")
    for release, minutes in ((1, 10), (2, 10), (3, 10), (1, 10), (4, 0), (4, 0)):
        before = store.find_model(NAME)
        preview = preview_installation(check_bundle(bundle(release), folder))
        assert (preview.current, preview.cameras, preview.key_file) == (before.current, ("door",), "vedette.pub")
        install_bundle(bundle(release), folder, Conditions(minutes=minutes))
        after = store.find_model(NAME)
        assert preview.previous == after.previous, release
        assert set(preview.removed) == set(before.releases) - set(after.releases), release


def test_a_check_writes_nothing(folder: Path, bundle: Callable[..., Path], call_vedette: Callable[..., Any]) -> None:
    done = call_vedette("install", bundle(3), "--check", "--config", folder)
    assert done.returncode == 0
    assert f"{NAME}: release 3, signed by vedette.pub" in done.stdout
    assert "run by: no camera" in done.stdout
    assert ModelStore(folder / "state").list_models() == []


def test_a_damaged_release_is_installed_again(folder: Path, bundle: Callable[..., Path], key_folder: Path) -> None:
    path = bundle(1)
    install_bundle(path, folder, Conditions())
    stored = ModelStore(folder / "state").bundle_path(NAME)
    stored.write_bytes(b"damaged on the disk")
    install_bundle(path, folder, Conditions())
    assert Bundle.open(stored, Keyring.read(key_folder)).manifest.release == 1


def test_a_release_whose_file_was_overwritten_is_installed_again(
    folder: Path, bundle: Callable[..., Path], key_folder: Path
) -> None:
    path = bundle(1)
    install_bundle(path, folder, Conditions())
    stored = ModelStore(folder / "state").bundle_path(NAME)
    stored.write_bytes(bundle(2).read_bytes())
    install_bundle(path, folder, Conditions())
    assert Bundle.open(stored, Keyring.read(key_folder)).manifest.release == 1


def test_a_bundle_is_opened_once_however_many_cameras_run_it(
    folder: Path, bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = bundle(1), []
    for camera in ("door", "yard", "gate"):
        add_camera(folder, f"installed:{NAME}", camera=camera)
    open_bundle = Bundle.open
    monkeypatch.setattr(Bundle, "open", lambda path, keys: opened.append(path) or open_bundle(path, keys))
    install_bundle(path, folder, Conditions())
    assert opened.count(path) == 1


def test_what_models_and_info_say_about_a_probation_holds(folder: Path, bundle: Callable[..., Path]) -> None:
    for release in (1, 2):
        install_bundle(bundle(release), folder, Conditions())
    store = ModelStore(folder / "state")
    record = ProbationRecord(store, NAME)
    record.count_start("door")
    store.roll_back(NAME)  # and the record of it was cut off
    cut_off, told = record.read_as_it_stands(), describe_products(store)[NAME]
    assert cut_off is not None
    assert (cut_off.outcome, told.probation, told.reason) == ("rolled back", "rolled back", cut_off.reason)
    assert "release 2 was rolled back" in call_models(folder)
    install_bundle(bundle(2), folder, Conditions(minutes=0))
    assert record.running() is None
    assert describe_products(store)[NAME].probation == "accepted"
    assert "release 2 kept to its probation" in call_models(folder)
    store.switch(NAME, 1)
    assert describe_products(store)[NAME].probation == ""
    assert "probation" not in call_models(folder)


def test_the_release_before_is_installed_again_during_a_probation(folder: Path, bundle: Callable[..., Path]) -> None:
    for release in (1, 2, 1):
        install_bundle(bundle(release), folder, Conditions())
    store = ModelStore(folder / "state")
    model, probation = store.find_model(NAME), ProbationRecord(store, NAME).read_as_it_stands()
    assert (model.current, model.previous) == (1, None)
    assert probation is not None
    assert (probation.outcome, probation.reason) == ("rolled back", "its user installed the release before again")


def test_a_user_who_may_not_install_is_told_at_once(
    folder: Path, bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bundle(1)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(MachineProblem, match="may not install") as caught:
        install_bundle(path, folder, Conditions())
    assert "sudo" in caught.value.hint


def call_models(folder: Path) -> str:
    return CliRunner().invoke(models, ["--config", str(folder)], catch_exceptions=False).stdout


def test_the_camera_file_stays_as_private_as_it_was(folder: Path) -> None:
    path = add_camera(folder, "old.vedette")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 0, NOBODY.pw_gid)
    before = path.stat()
    assert point_to_installed(folder, "door", NAME)
    for _ in range(2):
        for each in (path, last_good_file(path)):
            assert stat.S_IMODE(each.stat().st_mode) == 0o640
            assert (each.stat().st_uid, each.stat().st_gid) == (before.st_uid, before.st_gid)
        restore_last_good(folder, "door")


def test_a_camera_that_does_not_exist_has_no_last_file(folder: Path) -> None:
    add_camera(folder, "old.vedette")
    with pytest.raises(ConfigProblem, match="no such camera") as error:
        restore_last_good(folder, "dor")
    assert error.value.hint == "there are door"
