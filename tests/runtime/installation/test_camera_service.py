"""Which services are restarted after cameras' files were changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedette.runtime.config.configuration import SYSTEM_FOLDER
from vedette.runtime.installation import camera_service


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A systemd with a unit for two cameras: a script that notes how it is called."""
    systemctl, notes = tmp_path / "systemctl", tmp_path / "calls"
    systemctl.write_text(
        f'#!/bin/sh\necho "$*" >> {notes}\n'
        '[ "$1" = list-units ] && echo "vedette@door:yard.service loaded active running Vedette"\n'
        'case "$*" in list-units*failed*) echo "vedette@gate.service loaded failed failed Vedette";; esac\nexit 0\n'
    )
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(camera_service, "SYSTEMD", tmp_path)
    return notes


def test_a_unit_of_several_cameras_is_restarted_once_and_a_stopped_one_is_named(calls):
    left = camera_service.restart_cameras(SYSTEM_FOLDER, ["door", "yard", "shed"])
    assert left == ["systemctl restart vedette@shed"]
    assert calls.read_text().splitlines()[1:] == ["restart vedette@door:yard"]


def test_a_unit_that_a_wrong_file_ended_is_started_again(calls):
    assert camera_service.restart_cameras(SYSTEM_FOLDER, ["gate"]) == []
    assert calls.read_text().splitlines()[1:] == ["restart vedette@gate"]


def test_only_the_folder_of_the_unit_restarts_the_unit(calls):
    (left,) = camera_service.restart_cameras(Path("trial"), ["door"])
    assert left.endswith(f"vedette run door --config {Path('trial').absolute()}")
    assert not calls.exists()


def test_without_systemd_the_command_is_named(calls, monkeypatch, tmp_path):
    monkeypatch.setattr(camera_service, "SYSTEMD", tmp_path / "none")
    assert camera_service.restart_cameras(SYSTEM_FOLDER, ["door"]) == ["systemctl restart vedette@door"]
    assert not calls.exists()
