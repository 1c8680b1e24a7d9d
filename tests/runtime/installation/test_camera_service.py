"""Which service is restarted after a camera's file was changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedette.runtime.config.configuration import SYSTEM_FOLDER
from vedette.runtime.installation import camera_service


@pytest.mark.parametrize("folder", [SYSTEM_FOLDER, Path("trial")])
def test_only_the_folder_of_the_unit_restarts_the_unit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(camera_service, "SYSTEMD", tmp_path)
    left = camera_service.restart_camera(folder, "door")
    if folder == SYSTEM_FOLDER:
        assert left is None
        assert calls.read_text() == "try-restart vedette@door\n"
    else:
        assert left is not None
        assert left.endswith("vedette run door --config trial")
        assert not calls.exists()
