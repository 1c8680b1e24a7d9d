"""The wall clock is set while the daemon runs: no rule, gate or tracker notices, and events stay plausible."""

from __future__ import annotations

from functools import cache

import msgspec
import numpy as np
import pytest

from vedette.runtime import rules
from vedette.runtime.camera.frame import Frame, FrameTime
from vedette.runtime.camera.motion_gate import MotionGate
from vedette.runtime.config.camera_tables import MotionGateSettings
from vedette.runtime.config.tracker_table import TrackerSettings
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.rules import RULES, RuleContext
from vedette.runtime.tracking.tracker import Tracker

START = 1.75e9
RATE = 10
FRAMES = 600
EVERY = {"left_object": 4, "removed_object": 4}
"""Of the rules that look at pixels, which takes time: every how many frames they see."""
SQUARE = [[0.2, 0.2], [0.8, 0.2], [0.8, 0.9], [0.2, 0.9]]
AREA = {"zones": {"middle": SQUARE}}
SETTINGS = {
    "crossing": {"line": [[0.5, 0.0], [0.5, 1.0]], "inertia": 0.2},
    "crowd": {"count": 1, "update": 2.0, **AREA},
    "dwell": {"seconds": 1.5, "update": 1.0, **AREA},
    "fall": {"seconds": 0.5, "update": 1.0},
    "intrusion": {"polygon": SQUARE},
    "left_object": {"seconds": 2.0, "learn": 5.0, "absorb": 30.0},
    "lying": {"seconds": 0.5, "update": 1.0},
    "presence": {"cooldown": 3.0, "update": 1.0, "debounce": 2},
    "queue": {"polygon": SQUARE, "count": 1, "seconds": 1.0},
    "removed_object": {"seconds": 2.0, "learn": 5.0, "absorb": 30.0},
    "running": {"limit": 0.5, "update": 1.0},
    "speed": {"points": SQUARE, "metres": [[0, 0], [5, 0], [5, 5], [0, 5]], "limit": 5, "update": 1.0},
    "tailgate": {"line": [[0.5, 0.0], [0.5, 1.0]], "seconds": 30.0},
    "wrong_way": {"way": [[0.0, 0.5], [1.0, 0.5]], "update": 1.0},
    "zone": {"polygon": SQUARE, "update": 2.0},
}
STEPS = {
    "ten minutes back": {400: -600.0},
    "a day back": {397: -86400.0},
    "ten minutes on": {403: 600.0},
    "to 2036 and back": {300: 3.2e8, 500: 0.0},
    "back and on": {300: -600.0, 420: 900.0, 421: 0.0},
    "from 1970": {0: -START, 350: 0.0},
}


def make_frames(steps, name=""):
    """Frames of a live camera, at a tenth of a second; `steps`: frame number -> offset of the wall clock from then."""
    offset = 0.0
    for number in range(FRAMES):
        offset = steps.get(number, offset)
        pixels = np.full((90, 160, 3), 150, np.uint8)
        if (150 < number < 540) != (name == "removed_object"):
            pixels[40:60, 60:90] = 40
        moment = 5000 + number / RATE
        yield Frame("door", number, START + offset + moment, pixels, moment)


def see_object(number):
    """An object moves to and fro; it is missed in some frames."""
    middle = 0.5 + 0.4 * np.sin(number / 10)
    score = 1.5 if (number // 20) % 3 else 0.2
    return () if number % 47 == 0 else (Prediction("anomaly", score, Box(middle - 0.1, 0.3, middle + 0.1, 0.7)),)


def see_faller(number):
    """Somebody stands, falls, and lies until the end."""
    wide, tall = np.interp(number, (250, 256), (0.1, 0.3)), np.interp(number, (250, 256), (0.4, 0.1))
    return (
        () if number % 47 == 0 else (Prediction("anomaly", 1.5, Box(0.5 - wide / 2, 0.8 - tall, 0.5 + wide / 2, 0.8)),)
    )


@cache
def film(label, scene):
    """Frames, detections and tracks; the tracker does not see the wall clock (below)."""
    see = see_faller if scene == "fall" else see_object
    tracker, filmed = Tracker(TrackerSettings(confirm=1), 0.5), []
    for frame in make_frames(STEPS.get(label, {}), scene):
        predictions = see(frame.number)
        filmed.append((frame, predictions, tracker.update(frame, predictions)))
    return filmed


def run_rule(name, label=""):
    """Each event of the rule under the steps of this label, with the frame in which it was sent."""
    context = RuleContext("door", "model", 1.0, ("anomaly", "other"))
    rule = rules.load_rule({"use": name, **SETTINGS[name]}, context)
    sent = []
    scene = "fall" if name in ("fall", "lying") else name if name == "removed_object" else ""
    for frame, predictions, tracked in film(label, scene)[:: EVERY.get(name, 1)]:
        sent += [(event, frame) for event in rule.observe(frame, tracked if rule.needs_tracks else predictions)]
    return sent + [(event, frame) for event in rule.close()]


def describe(sent):
    """What may not depend on the wall clock."""
    return [
        (event.kind, event.frame, frame.number, event.top_score, event.track, event.before, event.after)
        for event, frame in sent
    ]


def test_every_rule_has_settings_here():
    assert SETTINGS.keys() == RULES.keys()


@pytest.mark.parametrize("name", RULES)
def test_steps_of_the_wall_clock_change_no_event(name):
    steady = run_rule(name)
    kinds = [event.kind for event, _ in steady]
    assert kinds.count("new") >= 1
    for label in STEPS:
        stepped = run_rule(name, label)
        assert describe(stepped) == describe(steady), label
        for (expected, _), (event, frame) in zip(steady, stepped, strict=True):
            shift = frame.taken - frame.moment - START  # as the wall clock was set when the event was sent
            assert event.taken == pytest.approx(expected.taken + shift, abs=0.01), label
            assert event.started == pytest.approx(expected.started + shift, abs=0.01), label
            assert event.started <= event.taken <= frame.taken, label


def test_events_last_across_the_steps():
    """The steps above do meet open events, so that the test above says something."""
    for name in RULES:
        sent = run_rule(name)
        spans = {}
        for event, frame in sent:
            spans.setdefault(event.event, []).append(frame.number)
        step_frames = {number for steps in STEPS.values() for number in steps}
        if name not in ("crossing", "tailgate"):  # their `new` and `end` are sent together
            assert any(min(span) < number <= max(span) for span in spans.values() for number in step_frames), name


def test_frame_without_moment_takes_the_wall_time():
    frame = Frame("door", 0, 123.5, np.zeros((2, 2, 3), np.uint8))
    assert frame.moment == 123.5
    assert msgspec.structs.replace(frame, moment=7.0).time == FrameTime(123.5, 7.0)


def test_small_differences_of_the_clocks_are_no_step():
    earlier, now = FrameTime(1000.0, 50.0), FrameTime(1010.02, 60.0)
    assert earlier.by_clock_at(now) == 1000.0
    assert earlier.by_clock_at(FrameTime(410.0, 60.0)) == 400.0
    assert earlier.by_clock_at(FrameTime(999.9, 50.1)) == 999.9


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_tracks_and_gate_do_not_depend_on_the_wall_clock(steps):
    results = []
    for each in ({}, steps):
        tracker, gate, seen = Tracker(TrackerSettings(confirm=2), 0.5), MotionGate(MotionGateSettings(seconds=4.0)), []
        for frame in make_frames(each):
            is_open = gate.is_open(frame)
            if is_open:
                gate.remember(see_object(frame.number))
            tracked = tracker.update(frame, see_object(frame.number))
            seen.append((is_open, [prediction.track for prediction in tracked]))
        results.append(seen)
    assert results[0] == results[1]
