"""Triggers by software: one for each part that enters the zone, in drawn scenes and in real recordings."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from one_product import one_product
from paths import ROOT

from vedette.runtime.camera.frame import Frame
from vedette.runtime.config.configuration import load_config
from vedette.runtime.config.trigger_table import PresenceSettings
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.line.part_gate import PartGate
from vedette.runtime.line.zone_presence import ZonePresence

VIDEOS = ROOT.parent / "shared" / "data" / "videos"
ZONE = ((0.4, 0.0), (0.6, 0.0), (0.6, 1.0), (0.4, 1.0))
RATE = 20.0


def draw(place: float | None, light: float = 1.0, seed: int = 0):
    """A gray belt with noise, and a light part whose middle is at `place` of the width."""
    noise = np.random.default_rng(seed).normal(0, 3, (120, 200))
    scene = 80.0 + noise
    if place is not None:
        left = round(200 * place) - 20
        scene[20:100, max(0, left) : max(0, left + 40)] = 190
    return np.repeat(np.clip(scene * light, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def pass_through(steps: int = 30):
    return [-0.2 + 1.4 * step / (steps - 1) for step in range(steps)]


def moments_of(places, zone: ZonePresence, start: float = 0.0, light: float = 1.0, rate: float = RATE) -> list[float]:
    found = []
    for number, place in enumerate(places):
        if zone.see(draw(place, light, number), start + number / rate):
            found.append(start + number / rate)
    return found


def test_one_trigger_for_each_part():
    zone = ZonePresence(PresenceSettings(polygon=ZONE))
    places = [None] * 30 + (pass_through() + [None] * 10) * 3
    found = moments_of(places, zone)
    assert len(found) == 3
    assert np.allclose(np.diff(found), 40 / RATE)


def test_part_that_is_there_before_is_no_trigger():
    zone = ZonePresence(PresenceSettings(polygon=ZONE))
    assert moments_of([0.5] * 10 + [None] * 0, zone) == [], "while the scene is learned"
    zone = ZonePresence(PresenceSettings(polygon=ZONE))
    moments_of([None] * 40, zone)
    assert moments_of([0.5] * 10, zone, start=60.0) == [], "nobody knows what came while the camera was away"
    assert len(moments_of([None] * 5 + pass_through(), zone, start=60.5)) == 1


def test_stopped_belt_and_light_are_no_parts():
    zone = ZonePresence(PresenceSettings(polygon=ZONE))
    assert moments_of([None] * 40, zone) == []
    assert len(moments_of([0.5] * 90, zone, start=2.0, rate=1.0)) == 1, "it stands there for a minute and a half"
    assert zone.covered_since == 2.0
    assert moments_of([None] * 20, zone, start=92.0) == []
    assert len(moments_of(pass_through(), zone, start=93.0)) == 1, "the next one"
    assert moments_of([None] * 20, zone, start=94.5, light=0.5) == [], "the camera halves its exposure"


def test_second_edge_within_the_gap_is_the_same_part():
    zone = ZonePresence(PresenceSettings(polygon=ZONE, gap=1.0))
    flicker = [None] * 30 + [0.5, 0.5, None, None, 0.5, 0.5, None]
    assert len(moments_of(flicker, zone)) == 1


@pytest.mark.skipif(not VIDEOS.exists(), reason="needs the recordings of shared/data")
@pytest.mark.parametrize(
    ("name", "zone", "entered"),
    [  # entered: by eye, to half a second. The camera adapts its exposure to the white cars
        ("car-detection", ((0.38, 0.45), (0.6, 0.45), (0.6, 0.55), (0.38, 0.55)), [5.4, 16.1]),
        pytest.param(
            "car-detection",
            ((0.1, 0.45), (0.35, 0.45), (0.35, 0.55), (0.1, 0.55)),
            [15.7, 26.1],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "one-by-one-person-detection",
            ((0.45, 0.3), (0.6, 0.3), (0.6, 0.8), (0.45, 0.8)),
            [6.5, 23.2, 50.7, 75.3, 92.5, 124.0],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_real_recordings(name, zone, entered):
    video, presence, found = cv2.VideoCapture(str(VIDEOS / f"{name}.mp4")), ZonePresence(PresenceSettings(zone)), []
    rate, number = video.get(cv2.CAP_PROP_FPS), 0
    while True:
        if not video.grab():
            break
        if number % 2 == 0 and presence.see(video.retrieve()[1], number / rate):
            found.append(number / rate)
        number += 1
    assert len(found) == len(entered)
    assert np.allclose(found, entered, atol=0.5)


def configure(folder, trigger, outputs=""):
    (folder / "cameras").mkdir(exist_ok=True)
    (folder / "vedette.toml").write_text("")
    (folder / "cameras" / "door.toml").write_text(
        f'source = "file:parts"\nbundle = "x.vedette"\n[trigger]\n{trigger}\n{outputs}\n'
    )
    return load_config(folder, "door")


TABLE = "[trigger.presence]\npolygon = [[0.4, 0], [0.6, 0], [0.6, 1], [0.4, 1]]"


def test_frame_in_which_the_part_enters_is_its_picture(tmp_path, wait_until):
    settings = configure(tmp_path, 'source = "presence"\ndeadline = 60.0', TABLE)
    outbox = Outbox.from_config(settings)
    gate = PartGate(settings, one_product(settings), outbox, lambda: None, live=False)
    gate.line.start()
    try:
        assert any("learned" in fault and present for fault, present in gate.faults().items())
        inspected = []
        for number, place in enumerate([None] * 30 + (pass_through() + [None] * 5) * 2):
            frame = Frame("door", number, number / RATE, draw(place, seed=number))
            if gate.is_open(frame):
                inspected.append(place)
                gate.remember((Prediction("anomaly", 2.0 if len(inspected) == 1 else 0.5),))
        assert len(inspected) == 2
        assert all(0.25 < place < 0.5 for place in inspected)

        def verdicts():
            figures = gate.figures()["line"].verdicts
            return figures.reject, figures.accept, figures.error

        # The second result is shown, and counted, once the first one has been shown for its time.
        wait_until(lambda: sum(verdicts()) == 2, "a verdict for each part")
        assert verdicts() == (1, 1, 0)
        assert not any(gate.faults().values())
    finally:
        gate.close()
        outbox.close()


@pytest.mark.parametrize(
    ("trigger", "more", "problem"),
    [
        ('source = "presence"', "", "need each other"),
        ('source = "mqtt:"', TABLE, "need each other"),
        ('source = "presence"', "[trigger.presence]\npolygon = [[0, 0], [1, 1]]", "at least three"),
    ],
)
def test_wrong_tables_are_told(tmp_path, trigger, more, problem):
    with pytest.raises(ConfigProblem) as raised:
        configure(tmp_path, trigger, more)
    assert problem in raised.value.message
