"""The unit file, as systemd itself reads and judges it."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from paths import ROOT

UNIT = ROOT / "deploy" / "vedette@.service"
EXPOSURE = 20  # tenths: 2.0 of 10

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def analyse(*arguments):
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_systemd_finds_nothing_wrong_with_it(tmp_path):
    """Its command, which is not installed here, is replaced by one that is."""
    unit = tmp_path / "vedette@door.service"
    unit.write_text(UNIT.read_text().replace("/opt/vedette/bin/vedette", "/bin/true"))
    done = analyse("verify", "--man=no", unit)
    assert done.returncode == 0
    assert done.stderr.strip() == ""


def test_a_misspelt_setting_would_be_found(tmp_path):
    unit = tmp_path / "vedette@door.service"
    unit.write_text(UNIT.read_text().replace("/opt/vedette/bin/vedette", "/bin/true").replace("WatchdogSec", "Watchdg"))
    assert "Watchdg" in analyse("verify", "--man=no", unit).stderr


def test_it_exposes_little():
    done = analyse("security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", UNIT)
    assert done.returncode == 0, done.stdout


def test_cameras_stay_reachable():
    """Hardening that hides the devices would score better, and see nothing."""
    found = analyse("security", "--offline=true", "--json=short", "--no-pager", UNIT)
    by_name = {each["json_field"]: each for each in json.loads(found.stdout)}
    assert by_name["PrivateDevices"]["set"] is False
    assert by_name["DeviceAllow"]["set"] is False, "there is a list of devices"
    assert "DeviceAllow=char-video4linux rw" in UNIT.read_text()
