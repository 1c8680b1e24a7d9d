"""The tracker on scripted scenes with ground truth, at several frame rates, with dropped frames."""

from __future__ import annotations

import motmetrics
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import FRAME_RATES, Scene, Walker

from vedette.runtime.camera.frame import Frame
from vedette.runtime.config.tracker_table import TrackerSettings
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.tracking.assignment import iou_matrix
from vedette.runtime.tracking.tracker import Tracker


def run_tracker(scene, fps, dropped=0.0, seed=0, **tracker):
    """(frame, tracked predictions, truth) of each frame."""
    follower = Tracker(TrackerSettings(**tracker), 0.5)
    for frame, seen, truth in scene.film(fps, dropped, seed):
        yield frame, follower.update(frame, seen), truth


def edges(box):
    return np.array([[box.left, box.top, box.right, box.bottom]])


def measure_mot_metrics(films):
    """MOTA, IDF1 and identity switches over several scenes (CLEAR MOT; a match has an IoU above 0.5)."""
    account = motmetrics.MOTAccumulator(auto_id=True)
    for film, frames in enumerate(films):
        for _, seen, truth in frames:
            tracked = [each for each in seen if each.track is not None]
            far = [[1 - iou_matrix(edges(box), edges(each.box))[0, 0] for each in tracked] for box in truth.values()]
            far = np.array(far, float).reshape(len(truth), len(tracked))
            walkers, tracks = [film * 1000 + each for each in truth], [film * 1000 + each.track for each in tracked]
            account.update(walkers, tracks, np.where(far > 0.5, np.nan, far))
    names = ["mota", "idf1", "num_switches"]
    return motmetrics.metrics.create().compute(account, metrics=names).iloc[0].to_dict()


def track_numbers(films):
    """The track numbers of each walker."""
    found = {}
    for _, seen, truth in films:
        for index, box in truth.items():
            for each in seen:
                if each.track is not None and iou_matrix(edges(box), edges(each.box))[0, 0] > 0.5:
                    found.setdefault(index, set()).add(each.track)
    return found


def crossing_walker(start, end, y, begin=0.0, seconds=5.0, **more):
    """A walker that crosses the frame in a straight line."""
    return Walker(((begin, start, y), (begin + seconds, end, y)), **more)


PILLAR = Box(0.45, 0.0, 0.55, 1.0)


@pytest.mark.parametrize(("fps", "dropped"), FRAME_RATES)
@pytest.mark.parametrize(
    ("walkers", "screens"),
    [
        ((crossing_walker(0.1, 0.9, 0.7),), ()),
        ((crossing_walker(0.1, 0.9, 0.7),), (PILLAR,)),  # hidden for more than half a second
        (
            (crossing_walker(0.1, 0.9, 0.7), crossing_walker(0.9, 0.1, 0.8)),
            (),
        ),  # the nearer one hides the other as they pass
        (
            (crossing_walker(0.1, 0.9, 0.7), crossing_walker(0.9, 0.1, 0.71)),
            (PILLAR,),
        ),  # they pass each other behind the pillar
        ((crossing_walker(0.1, 0.6, 0.7), crossing_walker(0.2, 0.7, 0.75), crossing_walker(0.3, 0.8, 0.8)), ()),
    ],
    ids=["alone", "pillar", "pass", "pass behind a pillar", "side by side"],
)
def test_objects_keep_their_track_number(walkers, screens, fps, dropped):
    scene = Scene(walkers, 5.0, screens, tremble=0.02)
    for seed in range(3):
        found = track_numbers(run_tracker(scene, fps, dropped, seed))
        assert sorted(found) == list(range(len(walkers)))
        assert all(len(tracks) == 1 for tracks in found.values()), found
        assert len(set.union(*found.values())) == len(walkers), found


def random_crowd(seed):
    """Twelve people who cross a square in all directions, some behind two pillars."""
    rng = np.random.default_rng(seed)
    walkers = []
    for _ in range(12):
        begin, y = rng.uniform(0, 12), rng.uniform(0.4, 0.95)
        left, right = (0.0, 1.0) if rng.random() < 0.5 else (1.0, 0.0)
        turn = rng.uniform(0.3, 0.7), rng.uniform(0.4, 0.95)
        pace = rng.uniform(3, 6)
        walkers.append(
            Walker(((begin, left, y), (begin + pace, *turn), (begin + 2 * pace, right, y)), size=(0.06, 0.25))
        )
    return Scene(tuple(walkers), 25.0, (Box(0.3, 0, 0.34, 1), Box(0.7, 0, 0.74, 1)), 0.02, missed=0.05, false=0.1)


@pytest.mark.parametrize(("fps", "dropped"), [(5, 0.0), (10, 0.2), (15, 0.0)])
def test_crowd_is_tracked(fps, dropped):
    """One in twenty visible people is not detected, and each half crossing occludes somebody."""
    figures = measure_mot_metrics(run_tracker(random_crowd(seed), fps, dropped, seed) for seed in range(2))
    assert figures["mota"] > 0.88, figures
    assert figures["idf1"] > 0.8, figures


def test_fast_object_is_tracked_from_its_second_frame():
    """A car that moves by nine tenths of its length between two frames, at 5 frames a second."""
    car = Walker(((0, 0.05, 0.8), (2.0, 0.95, 0.8)), "car", (0.1, 0.1))
    assert track_numbers(run_tracker(Scene((car,), 2.0), 5)) == {0: {1}}


@pytest.mark.parametrize("fps", [3, 5])
def test_runner_is_tracked_who_moves_by_more_than_the_width_of_the_box(fps):
    """At 3 frames a second by two widths."""
    runner = Walker(((0, 0.05, 0.8), (2.5, 0.95, 0.8)), size=(0.06, 0.3))
    assert track_numbers(run_tracker(Scene((runner,), 2.5), fps)) == {0: {1}}
    assert len(track_numbers(run_tracker(Scene((runner,), 2.5), fps, reach=0.0)).get(0, ())) != 1


def test_distance_joins_nothing_that_is_in_doubt_or_too_far():
    """One track with two detections within reach, one of another size, one farther away."""
    stands = ("person", 0.9, Box(0.4, 0.4, 0.44, 0.7))
    for later, expected in [
        ((0.47,), 1),
        ((0.47, 0.33), None),  # one on each side
        ((0.6,), None),
    ]:
        tracker = Tracker(TrackerSettings(), 0.5)
        for number in range(3):
            update_tracker(tracker, number, stands)
        seen = tuple(("person", 0.9, Box(x, 0.4, x + 0.04, 0.7)) for x in later)
        assert update_tracker(tracker, 3, *seen, taken=0.2 + 0.2) == expected, later
    tracker = Tracker(TrackerSettings(), 0.5)
    for number in range(3):
        update_tracker(tracker, number, stands)
    assert update_tracker(tracker, 3, ("person", 0.9, Box(0.47, 0.6, 0.49, 0.7)), taken=0.4) is None


def test_replay_gives_equal_track_numbers():
    def played():
        return [seen for _, seen, _ in run_tracker(random_crowd(3), 10, 0.2)]

    assert played() == played()


def test_low_scores_continue_tracks_but_start_none():
    """ByteTrack's second association: below high_score a track continues, but none starts."""
    tracker = Tracker(TrackerSettings(high_score=0.6, low_score=0.2), 0.5)
    box = Box(0.4, 0.4, 0.5, 0.7)
    tracks = [
        update_tracker(tracker, number, ("person", score, box))
        for number, score in enumerate([0.9, 0.9, 0.3, 0.3, 0.7])
    ]
    assert tracks == [None, 1, 1, 1, 1]
    assert update_tracker(tracker, 5, ("person", 0.1, box)) is None, "below low_score it is nothing"
    doubtful = Tracker(TrackerSettings(high_score=0.6, low_score=0.2), 0.5)
    assert {update_tracker(doubtful, number, ("person", 0.5, box)) for number in range(9)} == {None}


def update_tracker(tracker, number, *seen, taken=None):
    """The track number of the first prediction in a frame."""
    frame = Frame("door", number, number / 10 if taken is None else taken, np.zeros((90, 160, 3), np.uint8))
    followed = tracker.update(frame, tuple(Prediction(*each) for each in seen))
    return followed[0].track if followed else None


def test_lost_track_is_kept_for_seconds_not_frames():
    person = ("person", 0.9, Box(0.4, 0.4, 0.5, 0.7))
    for wait, expected in ((1.9, 1), (2.1, None)):
        tracker = Tracker(TrackerSettings(keep=2.0), 0.5)
        update_tracker(tracker, 0, person)
        assert update_tracker(tracker, 1, person) == 1
        assert update_tracker(tracker, 2) is None
        assert update_tracker(tracker, 3, person, taken=0.1 + wait) == expected


def test_turning_round_between_dropped_frames_keeps_the_number():
    """A person who walks to the right at five frames a second returns after three missing frames."""
    tracker = Tracker(TrackerSettings(), 0.5)
    for number in range(11):
        x = 0.1 + 0.02 * number
        update_tracker(tracker, number, ("person", 0.9, Box(x, 0.4, x + 0.08, 0.7)), taken=number / 5)
    assert update_tracker(tracker, 13, ("person", 0.9, Box(0.246, 0.4, 0.326, 0.7)), taken=2.6) == 1


def test_labels_are_tracked_separately_and_boxless_predictions_pass():
    box = Box(0.4, 0.4, 0.5, 0.7)
    tracker = Tracker(TrackerSettings(confirm=1), 0.5)
    assert update_tracker(tracker, 0, ("person", 0.9, box)) == 1
    assert update_tracker(tracker, 1, ("car", 0.9, box)) == 2
    seen = (Prediction("anomaly", 3.0), Prediction("person", 0.9, box), Prediction("person", 0.1, box))
    frame = Frame("door", 2, 0.2, np.zeros((90, 160, 3), np.uint8))
    followed = tracker.update(frame, seen)
    assert [each.track for each in followed] == [None, 1, None]
    assert followed[0] == seen[0]


def test_time_going_back_resets_the_tracker():
    person = ("person", 0.9, Box(0.4, 0.4, 0.5, 0.7))
    tracker = Tracker(TrackerSettings(confirm=1), 0.5)
    assert update_tracker(tracker, 0, person, taken=100.0) == 1
    assert update_tracker(tracker, 1, person, taken=50.0) == 2
    assert update_tracker(tracker, 2, person, taken=50.1) == 2


UNIT = st.floats(0, 1)
SEEN = st.builds(
    Prediction,
    st.sampled_from(["person", "car"]),
    UNIT,
    st.one_of(st.none(), st.builds(Box, UNIT, UNIT, UNIT, UNIT)),  # some of them inverted
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.lists(SEEN, max_size=6)), max_size=12))
def test_predictions_pass_unchanged_and_numbers_are_unique(frames):
    """Predictions keep their order; no two in a frame share a number, and no track changes its label."""
    tracker, labels, taken = Tracker(TrackerSettings(confirm=1), 0.5), {}, 0.0
    for number, (pause, seen) in enumerate(frames):
        taken += pause
        frame = Frame("door", number, taken, np.zeros((90, 160, 3), np.uint8))
        followed = tracker.update(frame, tuple(seen))
        assert [msgspec.structs.replace(each, track=None) for each in followed] == seen
        tracks = [each.track for each in followed if each.track is not None]
        assert len(set(tracks)) == len(tracks)
        assert all(labels.setdefault(each.track, each.label) == each.label for each in followed if each.track)
