"""The systemd unit file, checked by systemd-analyze."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess

import pytest
from paths import ROOT

UNIT = ROOT / "deploy" / "vedette@.service"
MAX_EXPOSURE = 20  # tenths: 2.0 of 10

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def systemd_analyze(*arguments):
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_unit_file_is_valid(tmp_path):
    """/bin/true replaces the command, which is not installed here."""
    unit = tmp_path / "vedette@door.service"
    unit.write_text(UNIT.read_text().replace("/opt/vedette/bin/vedette", "/bin/true"))
    done = systemd_analyze("verify", "--man=no", unit)
    assert done.returncode == 0
    assert done.stderr.strip() == ""


def test_first_boot_unit_is_valid(tmp_path):
    unit = tmp_path / "vedette-first-boot.service"
    text = UNIT.with_name(unit.name).read_text()
    unit.write_text(text.replace("/opt/vedette/bin/vedette", "/bin/true"))
    done = systemd_analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert unit.name in UNIT.read_text(), "the cameras' units wait for it"


def test_page_unit_is_valid_narrow_and_off_without_its_table(tmp_path):
    text = UNIT.with_name("vedette-page.service").read_text()
    unit, settings = tmp_path / "vedette-page.service", tmp_path / "vedette.toml"
    unit.write_text(text.replace("/opt/vedette/bin/vedette", "/bin/true"))
    done = systemd_analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    done = systemd_analyze("security", "--offline=true", f"--threshold={MAX_EXPOSURE}", "--no-pager", unit)
    assert done.returncode == 0, done.stdout
    condition = re.search(r"^ExecCondition=(.*)$", text, re.MULTILINE)[1].replace("\\\\", "\\")
    command = shlex.split(condition.replace("/etc/vedette/vedette.toml", str(settings)))
    contents = {"": False, "# [page]\n[device]\n": False, '[page]\nlisten = "127.0.0.1:8080"\n': True}
    for content, starts in contents.items():
        settings.write_text(content)
        assert (subprocess.run(command, check=False).returncode == 0) == starts


def test_units_that_apply_requests_are_valid_and_narrow(tmp_path):
    for name in ("vedette-configure.path", "vedette-configure.service"):
        text = UNIT.with_name(name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/vedette/bin/vedette", "/bin/true"))
    done = systemd_analyze("verify", "--man=no", tmp_path / "vedette-configure.path")
    assert (done.returncode, done.stderr.strip()) == (0, "")
    unit = UNIT.with_name("vedette-configure.service")
    done = systemd_analyze("security", "--offline=true", "--threshold=30", "--no-pager", unit)
    assert done.returncode == 0, done.stdout


def test_metrics_unit_is_valid_and_can_do_little(tmp_path):
    given = ROOT / "deploy" / "monitoring" / "vedette-metrics.service"
    unit = tmp_path / given.name
    unit.write_text(given.read_text().replace("/opt/vedette/bin/vedette", "/bin/true"))
    done = systemd_analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    done = systemd_analyze("security", "--offline=true", f"--threshold={MAX_EXPOSURE}", "--no-pager", given)
    assert done.returncode == 0, done.stdout


def test_misspelled_setting_is_reported(tmp_path):
    unit = tmp_path / "vedette@door.service"
    unit.write_text(UNIT.read_text().replace("/opt/vedette/bin/vedette", "/bin/true").replace("WatchdogSec", "Watchdg"))
    assert "Watchdg" in systemd_analyze("verify", "--man=no", unit).stderr


def test_security_exposure_is_low():
    done = systemd_analyze("security", "--offline=true", f"--threshold={MAX_EXPOSURE}", "--no-pager", UNIT)
    assert done.returncode == 0, done.stdout


def test_unit_can_access_cameras():
    """PrivateDevices would lower the exposure, but hide the cameras."""
    done = systemd_analyze("security", "--offline=true", "--json=short", "--no-pager", UNIT)
    by_name = {each["json_field"]: each for each in json.loads(done.stdout)}
    assert by_name["PrivateDevices"]["set"] is False
    assert by_name["DeviceAllow"]["set"] is False, "DeviceAllow lists devices"
    assert "DeviceAllow=char-video4linux rw" in UNIT.read_text()
