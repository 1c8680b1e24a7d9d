"""Things left and things removed, in drawn scenes: told as scripted, whoever walks by."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scenes import CONTEXT, FILMS, START, plain

from vedette.runtime import rules
from vedette.runtime.camera.frame import Frame
from vedette.runtime.inference.prediction import Box, Prediction

WIDE, HIGH = 240, 160
SHIRT = np.random.default_rng(7).uniform(20, 230, (90, 30))


def hall():
    """A floor and a wall with some texture."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(110, 150, (8, 12)).astype(np.float32)
    picture = cv2.resize(coarse, (WIDE, HIGH), interpolation=cv2.INTER_CUBIC)
    picture[:60] += 40
    return picture


HALL = hall()
BAG = (150, 110, 174, 134)  # left, top, right, bottom
PICTURE = (40, 20, 70, 44)


def drawn(when, rng, bag=None, hung=None, walkers=(), light=None):
    """The hall at a time: the bag stands, and the picture hangs, from … to …; walkers cross at (start, seconds, y)."""
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


def film(table, seconds, fps=10, dropped=0.0, seen=lambda when: (), **scene):
    """The rule's events of a drawn scene."""
    rule = rules.load(table, CONTEXT)
    rng = np.random.default_rng(3)
    events = []
    for number in range(round(seconds * fps)):
        if rng.random() < dropped:
            continue
        when = number / fps
        events += rule.observe(Frame("door", number, START + when, drawn(when, rng, **scene)), seen(when))
    return events + rule.close()


def story(events):
    return [f"{event.kind} {event.predictions[0].label}" for event in events]


def times(events, kind, moment="taken"):
    return [round(getattr(event, moment) - START, 3) for event in events if event.kind == kind]


LEFT = {"use": "left_object", "seconds": 5.0, "learn": 6.0, "update": 0}
REMOVED = {"use": "removed_object", "seconds": 5.0, "learn": 6.0, "update": 0}
PASSING = ((2.0, 4.0, 150), (14.0, 4.0, 150), (17.0, 5.0, 156))  # some of them before the bag


@pytest.mark.parametrize(("fps", "dropped"), FILMS)
def test_a_bag_that_is_left_is_told_until_it_is_taken(fps, dropped):
    scene = {"bag": (10.0, 24.0), "hung": (0.0, 99.0), "walkers": PASSING}
    events = film(LEFT, 30, fps, dropped, **scene)
    assert story(events) == ["new left_object", "end left_object"]
    (told,), (gone,) = times(events, "new"), times(events, "end")
    assert 15.5 <= told <= 17.0, "5 s, the inertia, and until the quick average has followed"
    assert 24.0 <= gone <= 26.0
    box = events[0].predictions[0].box
    assert np.allclose((box.left * WIDE, box.top * HIGH, box.right * WIDE, box.bottom * HIGH), BAG, atol=6)
    if fps < 30:
        assert film(REMOVED, 30, fps, dropped, **scene) == []


@pytest.mark.parametrize(("fps", "dropped"), [(5, 0.2), (30, 0.0)])
def test_a_picture_that_is_taken_is_told_until_it_is_back(fps, dropped):
    scene = {"hung": (0.0, 10.0), "walkers": ((2.0, 4.0, 150),)}
    events = film(REMOVED, 22, fps, dropped, **scene)
    assert story(events) == ["new removed_object", "end removed_object"]
    (told,) = times(events, "new")
    assert 15.5 <= told <= 17.0
    if fps < 30:
        assert film(LEFT, 22, fps, dropped, **scene) == []


def test_who_stands_for_less_is_nothing():
    assert film(LEFT, 25, bag=(10.0, 14.0), walkers=PASSING) == []


def test_one_frame_after_a_long_pause_decides_nothing():
    rule, rng, events = rules.load(LEFT, CONTEXT), np.random.default_rng(3), []
    for number, when in enumerate([*np.arange(0, 8, 0.1), 60.0, 60.1, *np.arange(60.2, 70, 0.1)]):
        pixels = drawn(when, rng, bag=(59.0, 60.15))
        events += rule.observe(Frame("door", number, START + when, pixels), ())
    assert events + rule.close() == []


def test_what_stands_long_enough_belongs_to_the_place():
    events = film(LEFT | {"absorb": 12.0}, 30, bag=(8.0, 99.0))
    assert story(events) == ["new left_object", "end left_object"]
    (gone,) = times(events, "end")
    assert 20.0 <= gone <= 22.0
    later = film(REMOVED | {"absorb": 12.0}, 42, bag=(8.0, 30.0))
    assert story(later) == ["new removed_object", "end removed_object"], "and is then missed"


@pytest.mark.parametrize(
    "light", [lambda when: 1 - 0.3 * (when > 12), lambda when: 1 - 0.4 * min(when / 30, 1)], ids=["at once", "slowly"]
)
def test_light_is_no_object(light):
    assert film(LEFT, 30, hung=(0.0, 99.0), light=light) == []
    assert film(REMOVED, 30, hung=(0.0, 99.0), light=light) == []


def test_who_walks_through_while_the_place_is_learnt_is_not_learnt():
    assert film(REMOVED, 15, walkers=((-2.0, 6.0, 150), (1.0, 5.0, 156))) == []


def test_who_stands_there_while_it_is_learnt_is_missed_unless_a_detector_knows_them():
    box = Box(BAG[0] / WIDE, BAG[1] / HIGH, BAG[2] / WIDE, BAG[3] / HIGH)

    def person(when):
        return (Prediction("person", 0.9, box),) if when < 8 else ()

    scene = {"bag": (0.0, 8.0)}  # the bag plays a person, who is there for longer than it learns
    assert story(film(REMOVED, 16, **scene)) == ["new removed_object", "end removed_object"]
    assert film(REMOVED | {"ignore": ["person"]}, 16, seen=person, **scene) == []


def test_a_bag_stays_where_it_is_when_the_camera_opens_its_iris():
    """By a fifth brighter all over, which alone is more than `contrast`."""
    events = film(LEFT, 30, bag=(8.0, 26.0), light=lambda when: 1.2 if when > 18 else 1.0)
    assert story(events) == ["new left_object", "end left_object"]
    assert times(events, "end")[0] >= 26.0


def test_only_where_the_polygon_is():
    elsewhere = LEFT | {"polygon": [[0.0, 0.5], [0.5, 0.5], [0.5, 1.0], [0.0, 1.0]]}
    assert film(elsewhere, 20, bag=(8.0, 99.0)) == []
    (new, _) = film(LEFT | {"zones": {"right": [[0.5, 0.5], [1, 0.5], [1, 1], [0.5, 1]]}}, 20, bag=(8.0, 99.0))
    assert new.after.zones == ("right",)


def test_what_a_prediction_covers_may_be_left_out_or_named():
    box = Box(0.6, 0.6, 0.75, 0.9)

    def person(when):
        return (Prediction("person", 0.9, box),) if when > 8 else ()

    def owner(when):
        return person(when) if when < 12 else ()

    assert film(LEFT | {"ignore": ["person"]}, 20, seen=person, bag=(8.0, 99.0)) == []
    (new, _) = film(LEFT | {"ignore": ["person"]}, 22, seen=owner, bag=(8.0, 99.0))
    assert 17.0 <= new.taken - START <= 18.5, "it counts from when its owner left it"
    events = film(LEFT | {"labels": ["person"]}, 20, seen=person, bag=(8.0, 99.0))
    assert story(events) == ["new person", "end person"]
    missed = film(
        LEFT | {"labels": ["person"]}, 24, seen=lambda when: person(when) if when < 16 else (), bag=(8.0, 99.0)
    )
    assert story(missed) == ["new person", "end person"]
    assert times(missed, "end")[0] > 23, "it is still that when it is not recognised any longer"
    assert film(LEFT | {"labels": ["car"]}, 20, seen=person, bag=(8.0, 99.0)) == []


def test_a_recording_replays_exactly():
    first, second = (film(LEFT, 20, 10, 0.2, bag=(8.0, 99.0), walkers=PASSING) for _ in range(2))
    assert first
    assert plain(first) == plain(second)
