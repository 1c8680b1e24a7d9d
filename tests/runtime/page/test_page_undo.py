"""The page takes back its own change of a camera's file, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vedette.deploy.setup import request_applier
from vedette.deploy.setup.request_applier import RequestApplier
from vedette.runtime.config.configuration import Config, load_config
from vedette.runtime.installation.camera_bundle import restore_last_good
from vedette.runtime.installation.configuration.change_requests import Origin, request_change
from vedette.runtime.page.page_undo import find_undo

FIRST = 'source = "file:none"\nbundle = "installed:weave"\n[[rules]]\nuse = "presence"\n'
SECOND, THIRD = f"{FIRST}debounce = 2\n", f"{FIRST}debounce = 3\n"
Change = Callable[[str, Origin], None]


@pytest.fixture
def camera(tmp_path: Path) -> Config:
    (tmp_path / "cameras").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "vedette.toml").write_text('[device]\nname = "box"\n')
    (tmp_path / "cameras" / "door.toml").write_text(FIRST)
    return load_config(tmp_path, "door")


@pytest.fixture
def change(camera: Config, monkeypatch: pytest.MonkeyPatch) -> Change:
    monkeypatch.setattr(request_applier, "_check_as_service", lambda *_: None)

    def change(text: str, origin: Origin) -> None:
        request_change(camera.state, "door", text, origin, "somebody")
        (result,) = RequestApplier(camera.camera_file.parents[1], 0, lambda *_: []).apply_all()
        assert result.outcome == "applied"

    return change


def test_its_own_change_is_taken_back_and_that_too(camera: Config, change: Change) -> None:
    assert find_undo(camera) is None
    for present, before in ((SECOND, FIRST), (FIRST, SECOND)):
        change(present, "page")
        undo = find_undo(camera)
        assert undo is not None
        assert (undo.present, undo.before) == (present, before)


def test_a_change_of_another_one_is_not_taken_back(camera: Config, change: Change) -> None:
    change(SECOND, "page")
    change(THIRD, "fleet")
    assert find_undo(camera) is None
    restore_last_good(camera.camera_file.parents[1], "door")  # root: the page's text again, the fleet's before it
    assert camera.camera_file.read_text() == SECOND
    assert find_undo(camera) is None
    change(FIRST, "page")
    camera.camera_file.write_text(THIRD)  # root, in an editor
    assert find_undo(camera) is None


def test_a_change_that_changes_nothing_leaves_nothing_to_take_back(camera: Config, change: Change) -> None:
    change(SECOND, "page")
    change(SECOND, "page")
    assert find_undo(camera) is None
