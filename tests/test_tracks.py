"""The tracker on scripted scenes with known truth: numbers that last, at any rate, with frames dropped."""

from __future__ import annotations

import motmetrics
import numpy as np
import pytest
from scenes import Scene, Walker

from vedette.runtime.frame import Frame
from vedette.runtime.prediction import Box, Prediction
from vedette.runtime.tracking.assignment import overlap
from vedette.runtime.tracking.settings import TrackerSettings
from vedette.runtime.tracking.tracker import Tracker

FILMS = [(5, 0.0), (10, 0.0), (30, 0.0), (10, 0.2), (30, 0.2)]


def followed(scene, fps, dropped=0.0, seed=0, **settings):
    """(frame, tracked predictions, truth) of each frame."""
    tracker = Tracker(TrackerSettings(**settings), 0.5)
    for frame, seen, truth in scene.film(fps, dropped, seed):
        yield frame, tracker.follow(frame, seen), truth


def edges(box):
    return np.array([[box.left, box.top, box.right, box.bottom]])


def measured(films):
    """MOTA, IDF1 and switches of what was followed (CLEAR MOT; a match overlaps by half)."""
    account = motmetrics.MOTAccumulator(auto_id=True)
    for _, seen, truth in films:
        tracked = [each for each in seen if each.track is not None]
        far = np.array([[1 - overlap(edges(box), edges(each.box))[0, 0] for each in tracked] for box in truth.values()])
        far = far.reshape(len(truth), len(tracked))
        account.update(list(truth), [each.track for each in tracked], np.where(far > 0.5, np.nan, far))
    names = ["mota", "idf1", "num_switches"]
    return motmetrics.metrics.create().compute(account, metrics=names).iloc[0].to_dict()


def numbers(films):
    """For each walker the tracks that it had."""
    found = {}
    for _, seen, truth in films:
        for index, box in truth.items():
            for each in seen:
                if each.track is not None and overlap(edges(box), edges(each.box))[0, 0] > 0.5:
                    found.setdefault(index, set()).add(each.track)
    return found


def across(start, end, y, begin=0.0, seconds=5.0, **more):
    """One who walks straight across the picture."""
    return Walker(((begin, start, y), (begin + seconds, end, y)), **more)


PILLAR = Box(0.45, 0.0, 0.55, 1.0)


@pytest.mark.parametrize(("fps", "dropped"), FILMS)
@pytest.mark.parametrize(
    ("walkers", "screens"),
    [
        ((across(0.1, 0.9, 0.7),), ()),
        ((across(0.1, 0.9, 0.7),), (PILLAR,)),  # hidden for more than half a second
        ((across(0.1, 0.9, 0.7), across(0.9, 0.1, 0.8)), ()),  # the nearer one hides the other as they pass
        ((across(0.1, 0.9, 0.7), across(0.9, 0.1, 0.71)), (PILLAR,)),  # they pass each other behind the pillar
        ((across(0.1, 0.6, 0.7), across(0.2, 0.7, 0.75), across(0.3, 0.8, 0.8)), ()),
    ],
    ids=["alone", "pillar", "pass", "pass behind a pillar", "side by side"],
)
def test_everybody_keeps_a_number(walkers, screens, fps, dropped):
    scene = Scene(walkers, 5.0, screens, tremble=0.02)
    for seed in range(3):
        found = numbers(followed(scene, fps, dropped, seed))
        assert sorted(found) == list(range(len(walkers)))
        assert all(len(tracks) == 1 for tracks in found.values()), found
        assert len(set.union(*found.values())) == len(walkers), found


def crowd(seed):
    """Twelve people who cross a square in all directions, some behind two pillars."""
    rng = np.random.default_rng(seed)
    walkers = []
    for _ in range(12):
        begin, y = rng.uniform(0, 12), rng.uniform(0.4, 0.95)
        left, right = (0.0, 1.0) if rng.random() < 0.5 else (1.0, 0.0)
        turn = rng.uniform(0.3, 0.7), rng.uniform(0.4, 0.95)
        pace = rng.uniform(3, 6)
        walkers.append(Walker(((begin, left, y), (begin + pace, *turn), (begin + 2 * pace, right, y)), size=(0.06, 0.25)))
    return Scene(tuple(walkers), 25.0, (Box(0.3, 0, 0.34, 1), Box(0.7, 0, 0.74, 1)), 0.02, missed=0.05, false=0.1)


@pytest.mark.parametrize(("fps", "dropped"), FILMS)
def test_a_crowd_is_followed(fps, dropped):
    figures = measured(film for seed in range(2) for film in followed(crowd(seed), fps, dropped, seed))
    print(fps, dropped, figures)


def test_a_recording_gives_the_same_numbers_again():
    def played():
        return [seen for _, seen, _ in followed(crowd(3), 10, 0.2)]

    assert played() == played()
