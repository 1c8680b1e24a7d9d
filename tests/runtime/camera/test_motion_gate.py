"""The motion gate skips inference while nothing moves, and rules never take a skipped frame for an empty one."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from paths import SHARED

from vedette.runtime.camera.frame import Frame
from vedette.runtime.camera.motion_gate import MotionGate, check_bundle_allows_gate
from vedette.runtime.config.camera_tables import MotionGateSettings as Settings
from vedette.runtime.config.tracker_table import TrackerSettings
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.rules import RuleContext
from vedette.runtime.rules.presence import PresenceRule, PresenceSettings
from vedette.runtime.tracking.tracker import Tracker

pytestmark = pytest.mark.wait

VIDEOS = SHARED / "videos"
THERE = (Prediction("thing", 1.0),)


def room(x=None, brightness=0):
    """A frame of 320 x 180 with sensor noise and, if `x` is given, an object of 16 x 24 pixels."""
    picture = np.full((180, 320, 3), 110 + brightness, np.float32)
    if x is not None:
        picture[100:124, round(x) : round(x) + 16] = 190
    noise = np.random.default_rng(round(20 * (x or 0)) + brightness).normal(0, 3, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8)


def make_frames(pictures, fps=10.0):
    return [Frame("door", number, 100 + number / fps, pixels) for number, pixels in enumerate(pictures)]


class Model:
    """Detects the object by its pixels."""

    def __init__(self):
        self.asked = []

    def of(self, frame):
        def infer():
            self.asked.append(frame.number)
            return THERE if np.count_nonzero(frame.pixels[..., 0] > 160) > 200 else ()

        return infer


def gated_predictions(gate, frame, infer):
    """The predictions for a frame, as the daemon gets them."""
    if gate.is_open(frame):
        gate.remember(infer())
    return gate.predictions


def run_gate(gate, sequence):
    """The predictions for each frame, and the numbers of the inferred frames."""
    model = Model()
    return [gated_predictions(gate, frame, model.of(frame)) for frame in sequence], model.asked


def test_gate_is_off_by_default():
    gate = MotionGate(Settings())
    _, asked = run_gate(gate, make_frames([room()] * 10))
    assert asked == list(range(10))
    assert (gate.inferences, gate.skipped) == (10, 0)


def test_static_scene_is_inferred_at_the_configured_interval():
    gate = MotionGate(Settings(seconds=2.0))
    _, asked = run_gate(gate, make_frames([room(None, 0) for _ in range(100)]))
    assert asked == [0, 20, 40, 60, 80]
    assert (gate.inferences, gate.skipped) == (5, 95)


def test_interval_uses_frame_times():
    """Equal results at 30 frames a second, and with missing frames."""
    for fps, step in ((30.0, 1), (10.0, 7)):
        sequence = make_frames([room() for _ in range(200)], fps)[::step]
        gate = MotionGate(Settings(seconds=2.0))
        _, asked = run_gate(gate, sequence)
        taken = [frame.taken for frame in sequence if frame.number in asked]
        gaps = np.diff(taken)
        assert gaps.min() >= 2.0 - 1e-6
        assert gaps.max() < 2.0 + step / fps + 1e-6


def test_entering_object_is_inferred_at_once():
    before, during = [room() for _ in range(15)], [room(20 + 4 * step) for step in range(30)]
    seen, asked = run_gate(
        MotionGate(Settings(seconds=60.0)), make_frames([*before, *during, *[room() for _ in range(15)]])
    )
    assert asked == [0, *range(15, 45), 45]
    assert [bool(each) for each in seen] == [False] * 15 + [True] * 30 + [False] * 15


def test_slow_motion_accumulates():
    """A twentieth of a pixel per frame: little between two frames, but never absorbed."""
    seen, asked = run_gate(
        MotionGate(Settings(seconds=3600.0)), make_frames([room(20 + step / 20) for step in range(400)])
    )
    assert 3 <= len(asked) <= 40
    assert all(seen)


def test_missed_object_is_found_at_the_next_forced_inference():
    """An object fades in too slowly for the gate; the next check finds it, and its event comes a frame later at
    most.
    """
    pictures = [room() for _ in range(12)] + [room(100)] * 40
    gate = MotionGate(Settings(seconds=2.0, cells=14400))  # all cells must change: only forced inferences
    model, rule = Model(), presence(debounce=2)
    opened = [
        event.frame
        for frame in make_frames(pictures)
        for event in rule.observe(frame, gated_predictions(gate, frame, model.of(frame)))
    ]
    assert model.asked == [0, 20, 40]
    assert opened[0] == 21


def presence(**more):
    settings = PresenceSettings(use="presence", **more)
    return PresenceRule(settings, RuleContext("door", "m:1:0", 0.5, ("thing",)))


def test_skipped_frames_end_no_event():
    """An object comes, stands for a minute and goes: one event with its updates, as without a gate."""
    pictures = [room()] * 5 + [room(60 + min(step, 10) * 4) for step in range(600)] + [room()] * 20
    told = []
    for seconds in (0.0, 5.0):
        gate, model, rule = MotionGate(Settings(seconds=seconds)), Model(), presence(update=10.0)
        told.append(
            [
                (event.kind, event.frame)
                for frame in make_frames(pictures)
                for event in rule.observe(frame, gated_predictions(gate, frame, model.of(frame)))
            ]
        )
    assert gate.skipped > 500
    assert told[0] == told[1]
    assert [kind for kind, _ in told[0]] == ["new", *["update"] * 5, "end"]


def test_tracks_survive_skipped_frames():
    """An object that stands for longer than a lost track is kept has one number throughout."""
    box = Box(60 / 320, 100 / 180, 76 / 320, 124 / 180)
    there = (Prediction("thing", 0.9, box),)
    gate, tracker = MotionGate(Settings(seconds=10.0)), Tracker(TrackerSettings(keep=1.0), 0.5)
    numbers = [
        each.track
        for frame in make_frames([room(60) for _ in range(400)])
        for each in tracker.update(frame, gated_predictions(gate, frame, lambda: there))
    ]
    assert gate.inferences <= 5
    assert set(numbers[5:]) == {1}


def test_change_of_light_opens_the_gate():
    _, asked = run_gate(MotionGate(Settings(seconds=60.0)), make_frames([room()] * 5 + [room(None, 30)] * 5))
    assert asked == [0, 5]


def test_time_going_back_opens_the_gate():
    sequence = make_frames([room() for _ in range(6)])
    sequence[3:] = [Frame("door", each.number, each.taken - 3600, each.pixels) for each in sequence[3:]]
    _, asked = run_gate(MotionGate(Settings(seconds=60.0)), sequence)
    assert asked == [0, 3]


@pytest.mark.parametrize("name", ["one-by-one-person-detection.mp4", "bottle-detection.mp4", "car-detection.mp4"])
def test_static_recordings_need_at_most_half_the_inferences(name):
    path = VIDEOS / name
    if not path.is_file():
        pytest.skip(f"the development clip {name} is not beside the project")
    capture, gate, number = cv2.VideoCapture(str(path)), MotionGate(Settings(seconds=2.0)), 0
    rate = capture.get(cv2.CAP_PROP_FPS)
    while (read := capture.read())[0]:
        gated_predictions(gate, Frame("door", number, number / rate, read[1]), lambda: ())
        number += 1
    assert gate.inferences + gate.skipped == number
    assert gate.skipped >= number / 2


def test_daemon_reports_saved_inferences(daemon_process, line_images, wait_until, call_vedette):
    (picture, *_) = sorted(line_images.iterdir())
    daemon_process.configure(f"file:{picture}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    daemon_process.append("[gate]\nseconds = 1.0")
    daemon_process.start()

    def report():
        return (json.loads(call_vedette("status", "door", "--config", daemon_process.folder, "--json").stdout) or [{}])[
            0
        ]

    wait_until(lambda: report().get("skipped", 0) > 40, "frames to be skipped")
    found = report()
    assert abs(found["inferences"] + found["skipped"] - found["frames"]) <= 1
    assert 0.02 < found["inferences"] / found["frames"] < 0.2
    assert 0 < found["duty"] < 0.5
    metrics = call_vedette("metrics", "--config", daemon_process.folder).stdout
    assert 'vedette_skipped_frames_total{camera="door",reason="still"}' in metrics
    assert 'vedette_inferences_total{camera="door"}' in metrics


def test_behaviour_bundle_rejects_the_gate(behaviour_bundle, anomaly_bundle):
    with pytest.raises(ConfigProblem, match="compares each frame") as caught:
        check_bundle_allows_gate(Settings(seconds=2.0), behaviour_bundle.manifest)
    assert "gate.seconds" in caught.value.hint
    check_bundle_allows_gate(Settings(), behaviour_bundle.manifest)
    check_bundle_allows_gate(Settings(seconds=2.0), anomaly_bundle.manifest)
