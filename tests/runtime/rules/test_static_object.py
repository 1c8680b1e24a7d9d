"""The rules left_object and removed_object on rendered scenes, with people walking by."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scenes import CONTEXT, FRAME_RATES, START, event_times, without_ids

from vedette.runtime import rules
from vedette.runtime.camera.frame import Frame
from vedette.runtime.inference.prediction import Box, Prediction

WIDE, HIGH = 240, 160
SHIRT = np.random.default_rng(7).uniform(20, 230, (90, 30))


def render_background():
    """A floor and a wall with some texture."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(110, 150, (8, 12)).astype(np.float32)
    picture = cv2.resize(coarse, (WIDE, HIGH), interpolation=cv2.INTER_CUBIC)
    picture[:60] += 40
    return picture


HALL = render_background()
BAG = (150, 110, 174, 134)  # left, top, right, bottom
PICTURE = (40, 20, 70, 44)


def render_frame(when, rng, bag=None, hung=None, walkers=(), light=None):
    """The hall at a time: bag and picture are present from … to …; walkers cross at (start, seconds, y)."""
    picture = HALL.copy()
    for place, span, grey in ((BAG, bag, 50), (PICTURE, hung, 60)):
        if span and span[0] <= when < span[1]:
            left, top, right, bottom = place
            picture[top:bottom, left:right] = grey + 15 * (np.indices((bottom - top, right - left)).sum(0) % 5 == 0)
    for start, seconds, feet in walkers:
        share = (when - start) / seconds
        if 0 <= share <= 1:
            x = round(share * (WIDE + 40)) - 20
            left, right = max(x - 15, 0), min(x + 15, WIDE)
            if right > left:
                picture[feet - 90 : feet, left:right] = SHIRT[:, left - x + 15 : right - x + 15]
    if light:
        picture = picture * light(when)
    picture = picture + rng.normal(0, 3, picture.shape)
    return np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def run_on_video(table, seconds, fps=10, dropped=0.0, seen=lambda when: (), **scene):
    """The rule's events for a rendered scene."""
    rule = rules.load_rule(table, CONTEXT)
    rng = np.random.default_rng(3)
    events = []
    for number in range(round(seconds * fps)):
        if rng.random() < dropped:
            continue
        when = number / fps
        events += rule.observe(Frame("door", number, START + when, render_frame(when, rng, **scene)), seen(when))
    return events + rule.close()


def kind_sequence(events):
    return [f"{event.kind} {event.predictions[0].label}" for event in events]


LEFT = {"use": "left_object", "seconds": 5.0, "learn": 6.0, "update": 0}
REMOVED = {"use": "removed_object", "seconds": 5.0, "learn": 6.0, "update": 0}
PASSING = ((2.0, 4.0, 150), (14.0, 4.0, 150), (17.0, 5.0, 156))  # some of them before the bag


@pytest.mark.parametrize(
    ("fps", "dropped"), [pytest.param(*each, marks=[pytest.mark.slow] * (each[0] > 10)) for each in FRAME_RATES]
)
def test_left_bag_is_reported_until_removed(fps, dropped):
    scene = {"bag": (10.0, 24.0), "hung": (0.0, 99.0), "walkers": PASSING}
    events = run_on_video(LEFT, 30, fps, dropped, **scene)
    assert kind_sequence(events) == ["new left_object", "end left_object"]
    (told,), (gone,) = event_times(events, "new"), event_times(events, "end")
    assert 15.5 <= told <= 17.0, "5 s, the inertia, and until the quick average has followed"
    assert 24.0 <= gone <= 26.0
    box = events[0].predictions[0].box
    assert np.allclose((box.left * WIDE, box.top * HIGH, box.right * WIDE, box.bottom * HIGH), BAG, atol=6)
    if fps < 30:
        assert run_on_video(REMOVED, 30, fps, dropped, **scene) == []


@pytest.mark.parametrize(("fps", "dropped"), [(5, 0.2), pytest.param(30, 0.0, marks=pytest.mark.slow)])
def test_removed_picture_is_reported_until_returned(fps, dropped):
    scene = {"hung": (0.0, 10.0), "walkers": ((2.0, 4.0, 150),)}
    events = run_on_video(REMOVED, 22, fps, dropped, **scene)
    assert kind_sequence(events) == ["new removed_object", "end removed_object"]
    (told,) = event_times(events, "new")
    assert 15.5 <= told <= 17.0
    if fps < 30:
        assert run_on_video(LEFT, 22, fps, dropped, **scene) == []


def test_short_stay_is_not_reported():
    assert run_on_video(LEFT, 25, bag=(10.0, 14.0), walkers=PASSING) == []


def test_single_frame_after_a_gap_changes_nothing():
    rule, rng, events = rules.load_rule(LEFT, CONTEXT), np.random.default_rng(3), []
    for number, when in enumerate([*np.arange(0, 8, 0.1), 60.0, 60.1, *np.arange(60.2, 70, 0.1)]):
        pixels = render_frame(when, rng, bag=(59.0, 60.15))
        events += rule.observe(Frame("door", number, START + when, pixels), ())
    assert events + rule.close() == []


def test_static_object_is_absorbed_into_the_background():
    events = run_on_video(LEFT | {"absorb": 12.0}, 30, bag=(8.0, 99.0))
    assert kind_sequence(events) == ["new left_object", "end left_object"]
    (gone,) = event_times(events, "end")
    assert 20.0 <= gone <= 22.0
    later = run_on_video(REMOVED | {"absorb": 12.0}, 42, bag=(8.0, 30.0))
    assert kind_sequence(later) == ["new removed_object", "end removed_object"], "and is then missed"


@pytest.mark.parametrize(
    "light", [lambda when: 1 - 0.3 * (when > 12), lambda when: 1 - 0.4 * min(when / 30, 1)], ids=["at once", "slowly"]
)
def test_change_of_light_is_not_reported(light):
    assert run_on_video(LEFT, 30, hung=(0.0, 99.0), light=light) == []
    assert run_on_video(REMOVED, 30, hung=(0.0, 99.0), light=light) == []


def dim_left_half(when):
    """The left half gets 40 % darker within a minute, as when the shadow of a house moves over the floor."""
    shade = np.ones((HIGH, WIDE))
    shade[:, : WIDE // 2] -= 0.4 * min(max((when - 8) / 60, 0), 1)
    return shade


def test_slow_shadow_over_half_of_the_frame_is_not_reported():
    assert run_on_video(LEFT, 75, 5, hung=(0.0, 99.0), light=dim_left_half) == []
    assert run_on_video(REMOVED, 75, 5, hung=(0.0, 99.0), light=dim_left_half) == []


@pytest.mark.parametrize(
    "light",
    [
        lambda when: 1 - 0.4 * min(when / 20, 1),
        lambda when: 1 - 0.35 * (when > 10.5),
        lambda when: 1 + 0.3 * (when > 9.5),
    ],
    ids=["it gets dark", "a lamp goes out", "a lamp goes on"],
)
def test_bag_is_found_while_the_light_changes(light):
    scene = {"bag": (10.0, 24.0), "hung": (0.0, 99.0), "walkers": PASSING, "light": light}
    events = run_on_video(LEFT, 30, 5, **scene)
    assert kind_sequence(events) == ["new left_object", "end left_object"]
    assert event_times(events, "new")[0] <= 18.0
    assert 24.0 <= event_times(events, "end")[0] <= 26.0
    assert run_on_video(REMOVED, 30, 5, **scene) == []


def test_doubtful_box_over_the_whole_frame_is_not_believed():
    def ghost(when):
        return (Prediction("person", CONTEXT.threshold / 2, Box(0.0, 0.0, 1.0, 1.0)),)

    events = run_on_video(LEFT | {"ignore": ["person"]}, 20, 5, seen=ghost, bag=(8.0, 99.0))
    assert kind_sequence(events) == ["new left_object", "end left_object"]


def test_person_who_is_missed_for_some_seconds_is_no_object():
    box = Box(BAG[0] / WIDE, BAG[1] / HIGH, BAG[2] / WIDE, BAG[3] / HIGH)

    def seen(when):
        return (Prediction("person", 0.9, box),) if 8 <= when < 9 else ()

    assert run_on_video(LEFT | {"ignore": ["person"]}, 20, 5, seen=seen, bag=(8.0, 99.0)) == []
    assert run_on_video(LEFT | {"ignore": ["person"]}, 20, 5, bag=(8.0, 99.0)), "the same without a detection"


def test_passing_person_is_not_learned_as_background():
    assert run_on_video(REMOVED, 15, walkers=((-2.0, 6.0, 150), (1.0, 5.0, 156))) == []


def test_standing_person_is_learned_as_background_unless_ignored():
    box = Box(BAG[0] / WIDE, BAG[1] / HIGH, BAG[2] / WIDE, BAG[3] / HIGH)

    def person(when):
        return (Prediction("person", 0.9, box),) if when < 8 else ()

    scene = {"bag": (0.0, 8.0)}  # the bag stands for a person who stays for longer than the learning time
    assert kind_sequence(run_on_video(REMOVED, 16, **scene)) == ["new removed_object", "end removed_object"]
    assert run_on_video(REMOVED | {"ignore": ["person"]}, 16, seen=person, **scene) == []


def test_exposure_change_does_not_end_the_event():
    """The whole frame gets brighter by a fifth, which alone is more than `contrast`."""
    events = run_on_video(LEFT, 30, bag=(8.0, 26.0), light=lambda when: 1.2 if when > 18 else 1.0)
    assert kind_sequence(events) == ["new left_object", "end left_object"]
    assert event_times(events, "end")[0] >= 26.0


def test_only_objects_in_the_polygon_count():
    elsewhere = LEFT | {"polygon": [[0.0, 0.5], [0.5, 0.5], [0.5, 1.0], [0.0, 1.0]]}
    assert run_on_video(elsewhere, 20, bag=(8.0, 99.0)) == []
    (new, _) = run_on_video(LEFT | {"zones": {"right": [[0.5, 0.5], [1, 0.5], [1, 1], [0.5, 1]]}}, 20, bag=(8.0, 99.0))
    assert new.after.zones == ("right",)


def test_predictions_can_mask_or_label_objects():
    box = Box(0.6, 0.6, 0.75, 0.9)

    def person(when):
        return (Prediction("person", 0.9, box),) if when > 8 else ()

    def owner(when):
        return person(when) if when < 12 else ()

    assert run_on_video(LEFT | {"ignore": ["person"]}, 20, seen=person, bag=(8.0, 99.0)) == []
    (new, _) = run_on_video(LEFT | {"ignore": ["person"]}, 22, seen=owner, bag=(8.0, 99.0))
    assert 17.0 <= new.taken - START <= 18.5, "it counts from when its owner left it"
    events = run_on_video(LEFT | {"labels": ["person"]}, 20, seen=person, bag=(8.0, 99.0))
    assert kind_sequence(events) == ["new person", "end person"]
    missed = run_on_video(
        LEFT | {"labels": ["person"]}, 24, seen=lambda when: person(when) if when < 16 else (), bag=(8.0, 99.0)
    )
    assert kind_sequence(missed) == ["new person", "end person"]
    assert event_times(missed, "end")[0] > 23, "it is still that when it is not recognised any longer"
    assert run_on_video(LEFT | {"labels": ["car"]}, 20, seen=person, bag=(8.0, 99.0)) == []


def test_replay_gives_equal_events():
    first, second = (run_on_video(LEFT, 20, 10, 0.2, bag=(8.0, 99.0), walkers=PASSING) for _ in range(2))
    assert first
    assert without_ids(first) == without_ids(second)
