"""Camera health: which frames count as faults, and when; and the thermal governor."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from camera import scene

from vedette.runtime.camera.frame import Frame
from vedette.runtime.camera.health import CameraHealth
from vedette.runtime.config.configuration import HealthSettings as Settings
from vedette.runtime.monitoring.thermal_governor import ThermalGovernor, read_machine_health


def run_health(pictures, settings=None, start=0.0):
    """Two frames a second; returns the system events, each with its second."""
    health = settings if isinstance(settings, CameraHealth) else CameraHealth(settings or Settings())
    found = []
    for number, pixels in enumerate(pictures):
        now = start + number / 2
        frame = None if pixels is None else Frame("door", number, now, pixels)
        found += [(now, kind, facts) for kind, facts in health.update(frame, now, "no picture")]
    return found


def good_frames(seconds, first=0, seed=0):
    return [scene(first + number, seed) for number in range(2 * seconds)]


def event_kinds(found):
    return [(kind, facts.get("from")) for _, kind, facts in found]


def test_good_scene_has_no_faults():
    walking = good_frames(120)
    for number, pixels in enumerate(walking):
        cv2.rectangle(pixels, (number, 80), (number + 40, 200), (20, 30, 90), -1)
    assert run_health(walking) == []


def blur(pixels):
    """A blurred lens: sensor noise stays."""
    soft = cv2.GaussianBlur(scene(0), (0, 0), 6)
    return cv2.add(soft, pixels.astype(np.int16) - scene(0), dtype=cv2.CV_8U)


def darken(pixels):
    return (pixels * 0.55).astype(np.uint8)


CASES = {
    "frozen": (10.0, lambda _pixels: scene(7)),
    "dark": (10.0, lambda pixels: pixels // 16),
    "bright": (10.0, lambda pixels: 255 - pixels // 8),
    "blurred": (20.0, blur),
    "moved": (20.0, lambda pixels: np.roll(pixels, 90, axis=1)),
    "stalled": (5.0, lambda _pixels: None),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_fault_and_its_end_are_reported_once(kind):
    after, spoil = CASES[kind]
    spoilt = [spoil(pixels) for pixels in good_frames(60, 1000)]
    found = run_health([*good_frames(60), *spoilt, *good_frames(30, 2000)])
    assert event_kinds(found) == [(kind, None), ("recovered", kind)]
    (begun, _, facts), (ended, _, mended) = found
    assert 60 + after - 1 <= begun <= 60 + after + 2
    assert facts["seconds"] >= after
    assert 123 <= ended <= 125
    assert 60 <= mended["seconds"] <= 65
    assert ("reason" in facts) == (kind == "stalled")


@pytest.mark.parametrize("kind", CASES)
def test_short_fault_is_not_reported(kind):
    after, spoil = CASES[kind]
    spoilt = [spoil(pixels) for pixels in good_frames(int(after) - 2, 1000)]
    assert run_health([*good_frames(60), *spoilt, *good_frames(30, 2000)]) == []


@pytest.mark.parametrize("kind", [kind for kind in CASES if kind != "stalled"])
def test_disabled_check_reports_nothing(kind):
    _, spoil = CASES[kind]
    spoilt = [spoil(pixels) for pixels in good_frames(60, 1000)]
    assert run_health([*good_frames(60), *spoilt], Settings(**{kind: 0.0})) == []


def test_slow_dimming_is_no_fault():
    assert run_health([*good_frames(60), *map(darken, good_frames(60, 1000))]) == []


def test_night_scene_with_a_lamp_is_not_dark():
    night = [pixels // 16 for pixels in good_frames(60)]
    for pixels in night:
        cv2.circle(pixels, (60, 60), 40, (200, 220, 230), -1)
    assert run_health(night) == []


def test_changing_parts_never_count_as_moved():
    assert run_health([scene(number, seed=number) for number in range(240)]) == []


def test_lasting_new_view_becomes_normal():
    turned = [np.roll(pixels, 90, axis=1) for pixels in good_frames(700, 1000)]
    found = run_health([*good_frames(60), *turned])
    assert event_kinds(found) == [("moved", None), ("recovered", "moved")]
    assert 580 < found[1][0] - found[0][0] < 620


def test_slow_camera_is_not_stalled():
    pictures = [pixels if number % 6 == 0 else None for number, pixels in enumerate(good_frames(120))]
    assert [kind for kind, _ in event_kinds(run_health(pictures))] == []


# The machine


@pytest.fixture
def sysfs(tmp_path):
    """The files of a Raspberry Pi."""
    zone = tmp_path / "class/thermal/thermal_zone0"
    firmware = tmp_path / "devices/platform/soc/soc:firmware"
    for folder in (zone, firmware):
        folder.mkdir(parents=True)

    def write(degrees, flags="0"):
        (zone / "temp").write_text(f"{degrees * 1000:.0f}\n")
        (firmware / "get_throttled").write_text(f"{flags}\n")
        return tmp_path

    return write


def govern(sysfs, tmp_path, temperatures, flags="0"):
    """A new temperature every 10 s; returns the slow-down factors and the system events."""
    sysfs(20)
    governor = ThermalGovernor(75.0, tmp_path / "told", "boot-1", tmp_path)
    speeds, notices = [], []
    for number, degrees in enumerate(temperatures):
        sysfs(degrees, flags)
        notices += governor.update(10.0 * number)
        speeds.append(governor.slowdown)
    return speeds, notices


def test_governor_slows_down_before_the_firmware(sysfs, tmp_path):
    speeds, notices = govern(sysfs, tmp_path, [60, 74, 75, 76, 80, 72, 69, 69, 60, 60, 60])
    assert speeds == [1, 1, 2, 4, 8, 8, 4, 2, 1, 1, 1]
    assert [kind for kind, _ in notices] == ["hot", "cool"]
    assert notices[0][1] == {"temperature": 75.0, "slowness": 2.0}


def test_undervoltage_is_reported_once_per_boot(sysfs, tmp_path):
    for _start in range(3):
        _, notices = govern(sysfs, tmp_path, [50, 50, 50], "50005")
        if not _start:
            assert notices == [("undervoltage", {"boot": "boot-1"})]
        else:
            assert notices == []
    later = ThermalGovernor(75.0, tmp_path / "told", "boot-2", tmp_path)
    assert [kind for kind, _ in later.update(0.0)] == ["undervoltage"]


def test_throttling_flags_have_names(sysfs):
    machine = read_machine_health(sysfs(50, "0x50005"))
    assert machine.active_flags == ("undervoltage", "throttled")
    assert machine.flags_since_boot == ("undervoltage", "throttled")
    assert read_machine_health(sysfs(50, "e0000")).flags_since_boot == ("frequency_capped", "throttled", "hot")


def test_missing_sensors_are_unknown(tmp_path):
    machine = read_machine_health(tmp_path)
    assert (machine.temperature, machine.active_flags, machine.flags_since_boot) == (None, None, None)
    governor = ThermalGovernor(75.0, tmp_path / "told", "boot-1", tmp_path)
    assert list(governor.update(0.0)) == []
    assert governor.slowdown == 1
