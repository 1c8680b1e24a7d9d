"""Which pictures a camera's health calls wrong, and when."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from camera import scene

from vedette.runtime.camera.frame import Frame
from vedette.runtime.camera.health import Health
from vedette.runtime.config.configuration import Health as Settings
from vedette.runtime.monitoring.thermal_governor import Governor, look


def told(pictures, settings=None, start=0.0):
    """Shows two pictures a second; what is told, each with the second in which it was."""
    health = settings if isinstance(settings, Health) else Health(settings or Settings())
    found = []
    for number, pixels in enumerate(pictures):
        now = start + number / 2
        frame = None if pixels is None else Frame("door", number, now, pixels)
        found += [(now, kind, facts) for kind, facts in health.changes(frame, now, "no picture")]
    return found


def good(seconds, first=0, seed=0):
    return [scene(first + number, seed) for number in range(2 * seconds)]


def kinds(found):
    return [(kind, facts.get("from")) for _, kind, facts in found]


def test_a_room_is_well():
    walking = good(120)
    for number, pixels in enumerate(walking):
        cv2.rectangle(pixels, (number, 80), (number + 40, 200), (20, 30, 90), -1)
    assert told(walking) == []


def blurred(pixels):
    """The lens is; the sensor's noise stays."""
    soft = cv2.GaussianBlur(scene(0), (0, 0), 6)
    return cv2.add(soft, pixels.astype(np.int16) - scene(0), dtype=cv2.CV_8U)


def dimmed(pixels):
    return (pixels * 0.55).astype(np.uint8)


CASES = {
    "frozen": (10.0, lambda _pixels: scene(7)),
    "dark": (10.0, lambda pixels: pixels // 16),
    "bright": (10.0, lambda pixels: 255 - pixels // 8),
    "blurred": (20.0, blurred),
    "moved": (20.0, lambda pixels: np.roll(pixels, 90, axis=1)),
    "stalled": (5.0, lambda _pixels: None),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_fault_is_told_once_and_so_is_its_end(kind):
    after, spoil = CASES[kind]
    spoilt = [spoil(pixels) for pixels in good(60, 1000)]
    found = told([*good(60), *spoilt, *good(30, 2000)])
    assert kinds(found) == [(kind, None), ("recovered", kind)]
    (begun, _, facts), (ended, _, mended) = found
    assert 60 + after - 1 <= begun <= 60 + after + 2
    assert facts["seconds"] >= after
    assert 123 <= ended <= 125
    assert 60 <= mended["seconds"] <= 65
    assert ("reason" in facts) == (kind == "stalled")


@pytest.mark.parametrize("kind", CASES)
def test_what_is_over_soon_is_not_told(kind):
    after, spoil = CASES[kind]
    spoilt = [spoil(pixels) for pixels in good(int(after) - 2, 1000)]
    assert told([*good(60), *spoilt, *good(30, 2000)]) == []


@pytest.mark.parametrize("kind", [kind for kind in CASES if kind != "stalled"])
def test_what_is_not_asked_for_is_not_told(kind):
    _, spoil = CASES[kind]
    spoilt = [spoil(pixels) for pixels in good(60, 1000)]
    assert told([*good(60), *spoilt], Settings(**{kind: 0.0})) == []


def test_the_light_goes_down_and_that_is_no_fault():
    assert told([*good(60), *map(dimmed, good(60, 1000))]) == []


def test_a_night_with_a_lamp_is_not_dark():
    night = [pixels // 16 for pixels in good(60)]
    for pixels in night:
        cv2.circle(pixels, (60, 60), 40, (200, 220, 230), -1)
    assert told(night) == []


def test_a_line_on_which_every_picture_is_another_never_moves():
    assert told([scene(number, seed=number) for number in range(240)]) == []


def test_a_camera_that_stays_turned_shows_what_it_shows():
    turned = [np.roll(pixels, 90, axis=1) for pixels in good(700, 1000)]
    found = told([*good(60), *turned])
    assert kinds(found) == [("moved", None), ("recovered", "moved")]
    assert 580 < found[1][0] - found[0][0] < 620


def test_a_camera_with_one_picture_in_three_seconds_is_not_silent():
    pictures = [pixels if number % 6 == 0 else None for number, pixels in enumerate(good(120))]
    assert [kind for kind, _ in kinds(told(pictures))] == []


# The machine


@pytest.fixture
def sysfs(tmp_path):
    """As a Raspberry Pi has it."""
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
    """Each 10 s another temperature; how slow it then goes, and what was told."""
    sysfs(20)
    governor = Governor(75.0, tmp_path / "told", "boot-1", tmp_path)
    speeds, notices = [], []
    for number, degrees in enumerate(temperatures):
        sysfs(degrees, flags)
        notices += governor.changes(10.0 * number)
        speeds.append(governor.slowness)
    return speeds, notices


def test_it_slows_down_before_the_firmware_does(sysfs, tmp_path):
    speeds, notices = govern(sysfs, tmp_path, [60, 74, 75, 76, 80, 72, 69, 69, 60, 60, 60])
    assert speeds == [1, 1, 2, 4, 8, 8, 4, 2, 1, 1, 1]
    assert [kind for kind, _ in notices] == ["hot", "cool"]
    assert notices[0][1] == {"temperature": 75.0, "slowness": 2.0}


def test_a_weak_supply_is_told_once_a_boot(sysfs, tmp_path):
    for _start in range(3):
        _, notices = govern(sysfs, tmp_path, [50, 50, 50], "50005")
        if not _start:
            assert notices == [("undervoltage", {"boot": "boot-1"})]
        else:
            assert notices == []
    later = Governor(75.0, tmp_path / "told", "boot-2", tmp_path)
    assert [kind for kind, _ in later.changes(0.0)] == ["undervoltage"]


def test_the_flags_have_names(sysfs):
    machine = look(sysfs(50, "0x50005"))
    assert machine.now == ("undervoltage", "throttled")
    assert machine.since_boot == ("undervoltage", "throttled")
    assert look(sysfs(50, "e0000")).since_boot == ("frequency_capped", "throttled", "hot")


def test_what_is_not_known_is_unknown(tmp_path):
    machine = look(tmp_path)
    assert (machine.temperature, machine.now, machine.since_boot) == (None, None, None)
    governor = Governor(75.0, tmp_path / "told", "boot-1", tmp_path)
    assert list(governor.changes(0.0)) == []
    assert governor.slowness == 1
