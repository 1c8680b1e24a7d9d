"""Where nothing moves nothing is inferred, and no rule ever takes that for an empty picture."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from paths import SHARED

from vedette.runtime.camera.frame import Frame
from vedette.runtime.camera.motion_gate import Gate, suits
from vedette.runtime.config.camera_tables import Gate as Settings
from vedette.runtime.config.tracker_table import TrackerSettings
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.rules import Context
from vedette.runtime.rules.presence import Presence, PresenceSettings
from vedette.runtime.tracking.tracker import Tracker

VIDEOS = SHARED / "videos"
THERE = (Prediction("thing", 1.0),)


def room(x=None, brightness=0):
    """A picture of 320 x 180 with a sensor's noise, and a thing of 16 x 24 pixels in it where it is asked for."""
    picture = np.full((180, 320, 3), 110 + brightness, np.float32)
    if x is not None:
        picture[100:124, round(x) : round(x) + 16] = 190
    noise = np.random.default_rng(round(20 * (x or 0)) + brightness).normal(0, 3, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8)


def frames(pictures, fps=10.0):
    return [Frame("door", number, 100 + number / fps, pixels) for number, pixels in enumerate(pictures)]


class Model:
    """Sees the thing where its pixels are."""

    def __init__(self):
        self.asked = []

    def of(self, frame):
        def infer():
            self.asked.append(frame.number)
            return THERE if np.count_nonzero(frame.pixels[..., 0] > 160) > 200 else ()

        return infer


def shown(gate, sequence):
    """What each frame is taken to show, and which of them were inferred."""
    model = Model()
    return [gate.look(frame, model.of(frame)) for frame in sequence], model.asked


def test_it_is_off_unless_asked_for():
    gate = Gate(Settings())
    _, asked = shown(gate, frames([room()] * 10))
    assert asked == list(range(10))
    assert (gate.inferences, gate.skipped) == (10, 0)


def test_what_rests_is_looked_at_every_so_many_seconds():
    gate = Gate(Settings(seconds=2.0))
    _, asked = shown(gate, frames([room(None, 0) for _ in range(100)]))
    assert asked == [0, 20, 40, 60, 80]
    assert (gate.inferences, gate.skipped) == (5, 95)


def test_by_the_frames_own_time():
    """The same at 30 frames a second, and where frames are missing."""
    for fps, step in ((30.0, 1), (10.0, 7)):
        sequence = frames([room() for _ in range(200)], fps)[::step]
        gate = Gate(Settings(seconds=2.0))
        _, asked = shown(gate, sequence)
        taken = [frame.taken for frame in sequence if frame.number in asked]
        gaps = np.diff(taken)
        assert gaps.min() >= 2.0 - 1e-6
        assert gaps.max() < 2.0 + step / fps + 1e-6


def test_what_enters_is_seen_at_once():
    before, during = [room() for _ in range(15)], [room(20 + 4 * step) for step in range(30)]
    seen, asked = shown(Gate(Settings(seconds=60.0)), frames([*before, *during, *[room() for _ in range(15)]]))
    assert asked == [0, *range(15, 45), 45]
    assert [bool(each) for each in seen] == [False] * 15 + [True] * 30 + [False] * 15


def test_what_creeps_adds_up():
    """A twentieth of a pixel a frame: never much from one to the next, and never absorbed."""
    seen, asked = shown(Gate(Settings(seconds=3600.0)), frames([room(20 + step / 20) for step in range(400)]))
    assert 3 <= len(asked) <= 40
    assert all(seen)


def test_what_the_gate_misses_costs_no_more_than_the_next_check():
    """It fades in too slowly to move anything: at the next check it is seen, and its event a frame later at most."""
    pictures = [room() for _ in range(12)] + [room(100)] * 40
    gate = Gate(Settings(seconds=2.0, cells=14400))  # all of the picture must move: blind but for its checks
    model, rule = Model(), presence(debounce=2)
    opened = [
        event.frame for frame in frames(pictures) for event in rule.observe(frame, gate.look(frame, model.of(frame)))
    ]
    assert model.asked == [0, 20, 40]
    assert opened[0] == 21


def presence(**more):
    settings = PresenceSettings(use="presence", **more)
    return Presence(settings, Context("door", "m:1:0", 0.5, ("thing",)))


def test_a_skip_ends_nothing():
    """It comes, stands still for a minute, and goes: one event with its updates, as without a gate."""
    pictures = [room()] * 5 + [room(60 + min(step, 10) * 4) for step in range(600)] + [room()] * 20
    told = []
    for seconds in (0.0, 5.0):
        gate, model, rule = Gate(Settings(seconds=seconds)), Model(), presence(update=10.0)
        told.append(
            [
                (event.kind, event.frame)
                for frame in frames(pictures)
                for event in rule.observe(frame, gate.look(frame, model.of(frame)))
            ]
        )
    assert gate.skipped > 500
    assert told[0] == told[1]
    assert [kind for kind, _ in told[0]] == ["new", *["update"] * 5, "end"]


def test_a_track_outlasts_the_skips():
    """What stands still for longer than a lost track is kept has one number all along."""
    box = Box(60 / 320, 100 / 180, 76 / 320, 124 / 180)
    there = (Prediction("thing", 0.9, box),)
    gate, tracker = Gate(Settings(seconds=10.0)), Tracker(TrackerSettings(keep=1.0), 0.5)
    numbers = [
        each.track
        for frame in frames([room(60) for _ in range(400)])
        for each in tracker.follow(frame, gate.look(frame, lambda: there))
    ]
    assert gate.inferences <= 5
    assert set(numbers[5:]) == {1}


def test_a_lamp_opens_it():
    _, asked = shown(Gate(Settings(seconds=60.0)), frames([room()] * 5 + [room(None, 30)] * 5))
    assert asked == [0, 5]


def test_a_clock_set_back_opens_it():
    sequence = frames([room() for _ in range(6)])
    sequence[3:] = [Frame("door", each.number, each.taken - 3600, each.pixels) for each in sequence[3:]]
    _, asked = shown(Gate(Settings(seconds=60.0)), sequence)
    assert asked == [0, 3]


@pytest.mark.parametrize("name", ["one-by-one-person-detection.mp4", "bottle-detection.mp4", "car-detection.mp4"])
def test_recorded_scenes_that_rest_need_half_the_inferences_at_most(name):
    path = VIDEOS / name
    if not path.is_file():
        pytest.skip(f"the development clip {name} is not beside the project")
    capture, gate, number = cv2.VideoCapture(str(path)), Gate(Settings(seconds=2.0)), 0
    rate = capture.get(cv2.CAP_PROP_FPS)
    while (read := capture.read())[0]:
        gate.look(Frame("door", number, number / rate, read[1]), lambda: ())
        number += 1
    assert gate.inferences + gate.skipped == number
    assert gate.skipped >= number / 2


def test_the_daemon_tells_what_it_saves(device, line, eventually, vedette):
    (picture, *_) = sorted(line.iterdir())
    device.configure(f"file:{picture}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    path = device.folder / "cameras" / "door.toml"
    path.write_text(f"{path.read_text()}[gate]\nseconds = 1.0\n")
    device.start()

    def report():
        return (json.loads(vedette("status", "door", "--config", device.folder, "--json").stdout) or [{}])[0]

    eventually(lambda: report().get("skipped", 0) > 40, "frames to be skipped")
    found = report()
    assert abs(found["inferences"] + found["skipped"] - found["frames"]) <= 1
    assert 0.02 < found["inferences"] / found["frames"] < 0.2
    assert 0 < found["duty"] < 0.5
    metrics = vedette("metrics", "--config", device.folder).stdout
    assert 'vedette_skipped_frames_total{camera="door",reason="still"}' in metrics
    assert 'vedette_inferences_total{camera="door"}' in metrics


def test_a_bundle_that_compares_frames_has_no_gate(yard_bundle, bundle):
    with pytest.raises(ConfigProblem, match="compares each frame") as caught:
        suits(Settings(seconds=2.0), yard_bundle.manifest)
    assert "gate.seconds" in caught.value.hint
    suits(Settings(), yard_bundle.manifest)
    suits(Settings(seconds=2.0), bundle.manifest)
