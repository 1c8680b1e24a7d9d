"""Times of exposure out of chunk data: a camera in software sends them, aravis receives them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import get_args

import pytest
from fake_genicam import ADDRESS, Watch
from gige_camera import CHUNK_DATA, DELAYS, IMAGE_WITH_CHUNKS, SIDE, Fault, GigeCamera, needs_aravis, read_number
from gige_camera_features import CHUNK_MODE

from vedette.runtime.camera.frame import Frame

pytestmark = [pytest.mark.slow, needs_aravis]

URL = f"genicam:{ADDRESS}?timestamps="
NEAR = min(DELAYS) - 0.05
"""By less than that a time differs from that of the exposure; the header's differs by more."""


@contextlib.contextmanager
def watch(camera: GigeCamera, url: str) -> Iterator[Watch]:
    with contextlib.closing(camera), contextlib.closing(Watch(url)) as source:
        yield source


def find_delay(camera: GigeCamera, frame: Frame) -> float:
    """By how many seconds the time of a frame is later than its exposure."""
    return frame.moment - camera.exposed[read_number(frame.pixels)]


@pytest.mark.parametrize("payload_type", [IMAGE_WITH_CHUNKS, CHUNK_DATA])
@pytest.mark.parametrize("tick_frequency", [125_000_000, 1_000_000_000])
def test_time_is_that_of_the_exposure(payload_type: int, tick_frequency: int, wait_until: Callable[..., None]) -> None:
    """The header's time is later, by a third of a second and not always by the same."""
    camera = GigeCamera(payload_type=payload_type, tick_frequency=tick_frequency)
    with watch(camera, f"{URL}chunk") as source:
        wait_until(lambda: len(source.frames) >= 20 and find_delay(camera, source.frames[-1]) < 0.1, "times", 120)
        delays = [find_delay(camera, frame) for frame in source.frames]
        assert min(delays) > -0.001, "no picture is older than it is"
        assert max(delays[10:]) < NEAR
        assert source.frames[-1].pixels.shape == (SIDE, SIDE, 3)
        assert source.source.frame_counts.unstamped == 0
        assert camera.read(CHUNK_MODE)


@pytest.mark.parametrize("has_chunks", [True, False])
def test_time_in_the_header_is_the_usual_one(has_chunks: bool, wait_until: Callable[..., None]) -> None:
    camera = GigeCamera(has_chunks=has_chunks)
    with watch(camera, f"{URL}camera") as source:
        wait_until(lambda: len(source.frames) >= 10, "frames", 120)
        assert min(find_delay(camera, frame) for frame in source.frames) > NEAR
        assert not camera.read(CHUNK_MODE), "what is not asked for stays as it was"


def test_chunk_data_that_somebody_else_switched_on_do_no_harm(wait_until: Callable[..., None]) -> None:
    """Chunk data of this kind leave size and format of the picture out of its header."""
    camera = GigeCamera(payload_type=CHUNK_DATA)
    camera.switch_chunks_on()
    with watch(camera, f"{URL}camera") as source:
        wait_until(lambda: len(source.frames) >= 10, "frames", 120)
        assert source.frames[-1].pixels.shape == (SIDE, SIDE, 3)
        assert min(find_delay(camera, frame) for frame in source.frames) > NEAR


def test_camera_without_chunk_data_says_so(wait_until: Callable[..., None]) -> None:
    with watch(GigeCamera(has_chunks=False), f"{URL}chunk") as source:
        wait_until(lambda: source.trouble, "the reason", 120)
        assert "does not support timestamps = chunk" in source.trouble
        assert "write timestamps=camera" in source.trouble
        assert not source.frames


@pytest.mark.parametrize("fault", [fault for fault in get_args(Fault) if fault])
def test_picture_without_its_time_takes_that_of_the_header_and_is_counted(
    fault: Fault, caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> None:
    camera = GigeCamera()
    camera.faults = dict.fromkeys(range(30, 45), fault)
    caplog.set_level(logging.WARNING)
    with watch(camera, f"{URL}chunk") as source:
        wait_until(lambda: source.frames and read_number(source.frames[-1].pixels) > 60, "the faults are over", 120)
        late = [frame for frame in source.frames if find_delay(camera, frame) > NEAR]
        spoiled = [frame for frame in source.frames if read_number(frame.pixels) in camera.faults]
        assert spoiled
        assert [frame.number for frame in late] == [frame.number for frame in spoiled]
        assert source.source.frame_counts.unstamped >= len(spoiled)
        assert source.source.frame_counts.restarts == 0
        assert "frames without a time of exposure: 1; " in caplog.text
        assert find_delay(camera, source.frames[-1]) < NEAR, "the faults have not spoiled the clock"


@pytest.mark.parametrize("spoiled", [range(1), range(30, 80)])
def test_camera_whose_pictures_never_say_their_time_is_set_up_anew(
    spoiled: range, wait_until: Callable[..., None]
) -> None:
    """From the first picture on, or at some time: somebody has set the camera up otherwise."""
    camera = GigeCamera()
    camera.faults = dict.fromkeys(spoiled, "no chunk data")
    with watch(camera, f"{URL}chunk") as source:
        wait_until(lambda: "do not say when they were exposed" in source.trouble, "the reason", 120)
        wait_until(lambda: source.trouble == "" and source.frames, "it was set up anew", 120)
        assert source.source.frame_counts.restarts >= 1
