"""`vedette install --camera` restarts the units that run the camera, and names those that nobody runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedette.runtime.commands import install

SYSTEMCTL = """#!/bin/sh
case "$1" in
list-units) printf 'vedette@door:yard.service loaded active running Vedette\\nvedette@gate.service loaded active\\n' ;;
*) echo "$@" >> {log} ;;
esac
"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for systemctl that notes its arguments."""
    log = tmp_path / "log"
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(log=log))
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(install, "SYSTEMD", tmp_path)
    return log


def test_the_unit_of_several_cameras_is_restarted_once(commands: Path) -> None:
    assert install._restart_units(["door", "yard", "shed"]) == ["vedette@shed"]
    assert commands.read_text() == "restart vedette@door:yard\n"


def test_without_systemd_all_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "SYSTEMD", tmp_path / "none")
    assert install._restart_units(["door"]) == ["vedette@door"]
