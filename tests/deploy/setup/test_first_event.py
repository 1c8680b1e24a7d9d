"""What is missing until the first event is said in words, from what a daemon's status socket tells."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paths import TESTS

from vedette.deploy.setup.first_event import wait_for_first_event
from vedette.runtime.camera.sources import FrameCounts
from vedette.runtime.config.configuration import Config, load_config
from vedette.runtime.monitoring import doctor_camera
from vedette.runtime.monitoring.status import LastEvent, StatusReport, StatusServer

V1 = TESTS / "bundles" / "v1"
REPORT = StatusReport(
    camera="door",
    model="m",
    backend="b",
    uptime_seconds=9.0,
    frames=90,
    frames_per_second=9.84,
    latency_ms={},
    events=0,
    backlog=0,
    dead=0,
    connected=True,
    last_event=None,
    open=[],
    faults=[],
    memory_mb=1.0,
    memory_mb_per_hour=None,
    temperature=None,
    throttled=None,
    pictures=FrameCounts(),
    top_score=3.14159,
)
EVENT = LastEvent(1, "vedette.presence.new", "2026-01-02T03:04:05Z")


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    (tmp_path / "cameras").mkdir()
    shutil.copytree(V1, tmp_path / "keys", ignore=shutil.ignore_patterns("*.vedette"))
    shutil.copy(V1 / "weave.vedette", tmp_path / "cameras")
    (tmp_path / "vedette.toml").write_text('[device]\nkeys = "keys"\n')
    (tmp_path / "cameras" / "door.toml").write_text(
        'source = "v4l2:/dev/video77"\nbundle = "weave.vedette"\n[[rules]]\nuse = "presence"\nthreshold = 5.25\n'
    )
    return load_config(tmp_path, "door")


@pytest.fixture
def answer(settings: Config) -> Iterator[list[StatusReport]]:
    """What the daemon's socket answers: the first of the list."""
    answers = [REPORT]
    settings.state_folder.mkdir(parents=True)
    server = StatusServer(settings.state_folder, lambda: answers[0])
    server.start()
    yield answers
    server.close()


@pytest.mark.parametrize(
    ("changes", "works", "text"),
    [
        ({}, True, "running, no event yet: the camera gives 9.8 frames a second, highest score 3.14 of threshold 5.25"),
        ({"faults": ["hot"]}, True, "threshold 5.25; hot"),
        ({"top_score": None}, True, "the camera gives 9.8 frames a second"),
        ({"events": 1, "last_event": EVENT}, True, "first event: vedette.presence.new, number 1, 2026-01-02T03:04:05Z"),
        ({"events": 3, "last_event": EVENT}, True, "3 events, the newest: vedette.presence.new"),
        ({"events": 1, "last_event": EVENT, "backlog": 1}, False, "events that wait for the broker: 1"),
        ({"connected": False}, False, "no connection to the broker"),
        ({"frames": 0}, False, "no frame came yet"),
        ({"pictures": FrameCounts(trouble="there is no such stream (404)")}, False, "no frames come: there is no such"),
    ],
)
def test_what_a_daemon_says(
    settings: Config, answer: list[StatusReport], changes: dict[str, Any], works: bool, text: str
) -> None:
    answer[0] = msgspec.structs.replace(REPORT, **changes)
    found = wait_for_first_event(settings, 0, must_run=True)
    assert found.works is works
    assert text in found.text


def test_a_daemon_that_does_not_run_is_not_waited_for(settings: Config) -> None:
    found = wait_for_first_event(settings, 3600, must_run=False)
    assert (found.works, found.text) == (False, "the daemon does not run")


def test_the_doctor_believes_a_running_daemon_about_its_camera(settings: Config, answer: list[StatusReport]) -> None:
    check = doctor_camera.check_camera(settings)
    assert (check.works, check.found) == (True, "the daemon gets 9.8 frames a second from it")
    answer[0] = msgspec.structs.replace(REPORT, pictures=FrameCounts(trouble="no route"))
    check = doctor_camera.check_camera(settings)
    assert (check.works, "no route" in check.found) == (False, True)
