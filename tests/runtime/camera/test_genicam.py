"""Cameras for machine vision: pixels, clocks and errors here, frames and triggers from aravis' camera in software."""

from __future__ import annotations

import contextlib
import ctypes
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from daemon_process import NO_BROKER, DaemonProcess
from fake_genicam import ADDRESS, FakeGenicamCamera, Watch, needs_fake_camera

from vedette.runtime.camera import sources
from vedette.runtime.camera.capture import aravis
from vedette.runtime.camera.capture.camera_clock import CameraClock
from vedette.runtime.camera.capture.genicam import GenicamReader
from vedette.runtime.camera.capture.genicam_pixels import decode_pixels
from vedette.runtime.camera.health import CameraHealth
from vedette.runtime.camera.sources import SourceAddress
from vedette.runtime.config.camera_tables import HealthSettings
from vedette.runtime.errors import ConfigProblem

_MOSAICS = {0x01080008: "GRBG", 0x01080009: "RGGB", 0x0108000A: "GBRG", 0x0108000B: "BGGR"}


@pytest.mark.parametrize(("number", "rows"), _MOSAICS.items())
def test_colors_of_a_mosaic(number: int, rows: str) -> None:
    """A plain picture, red 200, green 120, blue 40, as the sensor under its color filters has it."""
    levels = {"R": 200, "G": 120, "B": 40}
    cell = np.array([[levels[rows[0]], levels[rows[1]]], [levels[rows[2]], levels[rows[3]]]], np.uint8)
    pixels = decode_pixels(np.tile(cell, (8, 12)).ravel(), 24, 16, number)
    assert pixels.shape == (16, 24, 3)
    assert np.abs(pixels[4:-4, 4:-4].astype(int) - (40, 120, 200)).max() <= 1


@pytest.mark.parametrize(
    ("number", "content", "expected"),
    [
        (0x01080001, np.array([7, 200], np.uint8), [(7, 7, 7), (200, 200, 200)]),
        (0x01100003, np.array([4 * 9, 1023], "<u2"), [(9, 9, 9), (255, 255, 255)]),
        (0x01100005, np.array([16 * 9, 4095], "<u2"), [(9, 9, 9), (255, 255, 255)]),
        (0x01100007, np.array([256 * 9, 65535], "<u2"), [(9, 9, 9), (255, 255, 255)]),
        (0x02180014, np.array([1, 2, 3, 4, 5, 6], np.uint8), [(3, 2, 1), (6, 5, 4)]),
        (0x02180015, np.array([1, 2, 3, 4, 5, 6], np.uint8), [(1, 2, 3), (4, 5, 6)]),
    ],
)
def test_formats_become_blue_green_red(number: int, content: Any, expected: list[tuple[int, ...]]) -> None:
    bytes_with_more_behind = np.concatenate([content.view(np.uint8), np.zeros(9, np.uint8)])
    pixels = decode_pixels(bytes_with_more_behind, 2, 1, number)
    assert [tuple(map(int, pixel)) for pixel in pixels[0]] == expected


def test_unknown_format_and_missing_bytes_are_told() -> None:
    with pytest.raises(RuntimeError, match="0x010c0047 cannot be read: write format=, one of BayerBG8"):
        decode_pixels(np.zeros(99, np.uint8), 2, 2, 0x010C0047)
    with pytest.raises(RuntimeError, match="3 bytes instead of 4"):
        decode_pixels(np.zeros(3, np.uint8), 2, 2, 0x01080001)


def test_camera_clock_leaves_the_delay_of_the_network_out() -> None:
    clock, rng = CameraClock(), np.random.default_rng(0)
    for number in range(600):
        stamp = 5000.0 + 0.1 * number
        taken = 70.0 + 0.1 * number * (1 + 50e-6)  # the two clocks differ by 50 millionths
        delay = 0.002 + (rng.exponential(0.02) if number % 4 else 0.0)
        found = clock.find_time(stamp, taken + delay)
        assert found <= taken + delay
        assert abs(found - (taken + 0.002)) < 0.004, "half a minute of the clocks' difference, and no delay"


def test_camera_clock_takes_the_exposure_where_it_is_told() -> None:
    """The stamp relates the two clocks, here 1000 s apart; the pictures were exposed up to 0.3 s before it."""
    clock = CameraClock()
    assert clock.find_time(1010.0, 10.02, 1009.7) == pytest.approx(9.72)
    assert clock.find_time(1011.0, 11.01, 1010.9) == pytest.approx(10.91)
    assert clock.find_time(1012.0, 12.50, 1011.7) == pytest.approx(11.71), "not late, though its packets were"
    assert clock.find_time(1013.0, 13.02, 1019.0) == 13.02, "never later than it arrived"


def test_camera_clock_without_a_use_is_the_arrival() -> None:
    clock = CameraClock()
    assert [clock.find_time(0.0, arrival) for arrival in (1.0, 2.0, 3.5)] == [1.0, 2.0, 3.5]
    assert clock.find_time(900.0, 4.0) == 4.0
    assert clock.find_time(900.5, 4.6) == 4.5
    assert clock.find_time(2.0, 9.0) == 9.0, "the camera was started anew"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("genicam://host/name", "no name of a camera"),
        ("genicam:?exposure=0", "exposure"),
        ("genicam:?activation=up", "activation"),
        ("genicam:?timestamps=chunks", "timestamps"),
        ("genicam:?width=640", "width and height go together"),
        ("genicam:?trigger=Line1&fps=5", "exclude each other"),
    ],
)
def test_wrong_url_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigProblem, match=said):
        sources.load_source(SourceAddress("door", url, Path("/")))


def test_missing_library_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aravis, "LIBRARY", "libaravis-9.9.so.0")
    with pytest.raises(RuntimeError, match=r"apt install libaravis-0\.8-0"):
        GenicamReader({"name": ""})


def test_camera_that_waits_for_its_trigger_is_not_stalled() -> None:
    health = CameraHealth(HealthSettings(stalled=2.0))
    assert [each for second in range(60) for each in health.update(None, float(second), waits=True)] == []
    late = [kind for second in range(60, 66) for kind, _ in health.update(None, float(second))]
    assert late == ["stalled"]


@pytest.fixture
def fake() -> Iterator[FakeGenicamCamera]:
    made = FakeGenicamCamera()
    yield made
    made.close()


@pytest.fixture
def watch() -> Iterator[Callable[[str], Watch]]:
    made: list[Watch] = []

    def begin(url: str) -> Watch:
        made.append(Watch(url))
        return made[-1]

    yield begin
    for each in made:
        each.close()


@pytest.mark.slow
@needs_fake_camera
def test_frames_of_a_camera_with_their_settings(
    fake: FakeGenicamCamera, watch: Callable[[str], Watch], wait_until: Callable[..., None]
) -> None:
    bright = watch(f"genicam:{ADDRESS}?format=Mono8&width=256&height=128&fps=20&exposure=5000&gain=6")
    wait_until(lambda: len(bright.frames) >= 20, "frames", 120)
    assert bright.frames[-1].pixels.shape == (128, 256, 3)
    steps = np.diff([frame.moment for frame in bright.frames])
    assert (steps > 0).all()
    assert abs(np.median(steps) - 0.05) < 0.01
    bright.close()
    dark = watch(f"genicam:{ADDRESS}?format=Mono8&width=256&height=128&fps=20&exposure=500&gain=0")
    wait_until(lambda: len(dark.frames) >= 3, "frames", 120)
    assert dark.frames[-1].pixels.mean() < 0.8 * bright.frames[-1].pixels.mean()
    dark.close()
    color = watch(f"genicam:{ADDRESS}?format=BayerRG8&fps=10")
    wait_until(lambda: len(color.frames) >= 3, "frames in color", 120)
    assert color.frames[-1].pixels.shape == (128, 256, 3), "what is not given stays as it was"


@pytest.mark.slow
@needs_fake_camera
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("?trigger=Line9", r"does not support trigger = Line9 .*it has Line0, Software"),
        ("?timestamps=chunk", r"does not support timestamps = chunk .*write timestamps=camera"),
        ("?format=Mono12p", r"does not support format = Mono12p .*it has BayerBG8, .*Mono8"),
    ],
)
def test_what_the_camera_does_not_support_is_told(
    fake: FakeGenicamCamera, watch: Callable[[str], Watch], wait_until: Callable[..., None], options: str, said: str
) -> None:
    source = watch(f"genicam:{ADDRESS}{options}")
    wait_until(lambda: re.search(said, source.trouble) is not None, f"{said}, not {source.trouble}", 120)


@pytest.mark.slow
@needs_fake_camera
def test_missing_camera_and_camera_in_use_are_told(
    fake: FakeGenicamCamera, watch: Callable[[str], Watch], wait_until: Callable[..., None]
) -> None:
    missing = watch("genicam:Nobody-1234")
    wait_until(lambda: "there is no camera Nobody-1234" in missing.trouble, "the reason", 120)
    assert "found: Aravis-Fake-GV19" in missing.trouble
    first = watch(f"genicam:{ADDRESS}?fps=10&width=64&height=64")
    wait_until(lambda: len(first.frames) >= 3, "frames", 120)
    second = watch(f"genicam:{ADDRESS}")
    wait_until(lambda: "another program controls it" in second.trouble, "the reason", 120)


@pytest.mark.slow
@needs_fake_camera
def test_triggered_camera_waits_and_its_loss_is_seen(
    fake: FakeGenicamCamera, watch: Callable[[str], Watch], wait_until: Callable[..., None]
) -> None:
    """No part comes for longer than a camera may be silent: nothing is wrong. Then the cable is cut."""
    source = watch(f"genicam:{ADDRESS}?trigger=Line0")
    wait_until(lambda: source.source.waits, "the camera waits", 120)
    time.sleep(2 * source.source.max_silence)
    assert source.source.waits
    assert source.trouble == ""
    assert source.source.frame_counts.restarts == 0
    fake.switch_off()
    wait_until(lambda: source.trouble != "", "its loss is seen", 120)
    assert not source.source.waits
    fake.switch_on()
    wait_until(lambda: source.source.waits, "it waits again", 120)


@pytest.mark.slow
@needs_fake_camera
def test_each_trigger_gives_one_picture(fake: FakeGenicamCamera) -> None:
    """The camera's own input cannot be moved in software, so its software trigger stands for it."""
    keys = {"name": ADDRESS, "activation": "rising", "format": "", "timestamps": "camera"}
    numbers = {"width": 64, "height": 64, "left": 0, "top": 0, "fps": 0.0, "timeout": 5.0, "max_pixels": 1 << 20}
    reader = GenicamReader({**keys, **numbers, "trigger": "Software", "exposure": None, "gain": None})
    for _ in range(3):
        while reader.grab():
            pass  # what came before the trigger was set
        asked = time.monotonic()
        reader._call("camera_software_trigger", reader.camera)
        assert reader.grab() is True
        assert reader.exposed is not None
        assert abs(reader.exposed - asked) < 1.0
        assert reader.retrieve(None).shape == (64, 64, 3)
        assert reader.grab() is False, "one picture for one trigger"


@pytest.mark.slow
@needs_fake_camera
def test_parts_in_front_of_the_camera_get_verdicts(fake: FakeGenicamCamera, daemon_process: DaemonProcess) -> None:
    """The daemon: triggers from a file, pictures from the camera."""
    daemon_process.configure(f"genicam:{ADDRESS}?fps=30&width=256&height=256", NO_BROKER)
    daemon_process.append('[trigger]\nsource = "file:triggers.txt"\ndeadline = 20.0\ndepth = 64')
    triggers = "".join(f"{15 + 0.5 * number:.1f}\n" for number in range(10))
    (daemon_process.folder / "cameras" / "triggers.txt").write_text(triggers)
    process = daemon_process.start()
    assert process.wait(180) == 0, daemon_process.log()
    assert "frames arrive, 256 x 256" in daemon_process.log()
    with contextlib.closing(sqlite3.connect(daemon_process.outbox)) as database:
        found = [json.loads(body) for (body,) in database.execute("SELECT body FROM events ORDER BY sequence")]
    verdicts = [each["facts"] for each in found if (each["rule"], each["kind"]) == ("part", "verdict")]
    assert [each["part"] for each in verdicts] == [str(number) for number in range(1, 11)]
    assert {each["verdict"] for each in verdicts} <= {"accept", "reject"}, "each part has its picture"
    assert all(each["triggered"] <= each["exposed"] <= each["decided"] for each in verdicts)


def test_picture_is_a_copy_of_the_camera_s_memory() -> None:
    memory = (ctypes.c_uint8 * 12)(*range(12))
    pixels = decode_pixels(np.ctypeslib.as_array(memory), 2, 2, 0x02180015)
    memory[0] = 99
    assert pixels[0, 0, 0] == 0
    assert cv2.countNonZero(pixels[..., 0]) == 3
