"""Drift is told once when it begins and once when it is over, also over restarts and while it lasts."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from vedette.runtime.calibration import drift, good_scores
from vedette.runtime.calibration.drift import WINDOW, DriftMonitor
from vedette.runtime.calibration.drift_watch import FILE_NAME, DriftWatch, ProductDrift
from vedette.runtime.events.system_events import SYSTEM_EVENTS

MODEL = "weave:1:ab"


class Line:
    """A camera on which scores are seen; `start` is a start of its daemon."""

    def __init__(self, folder, seed, images=120):
        self.folder, self.rng, self.moment = folder, np.random.default_rng(seed), 0.0
        self.good = good_scores.summarize(np.round(self.rng.normal(100, 10, images)), 1.0, 255.0)
        self.start()

    def start(self, model=MODEL):
        self.monitor = DriftMonitor(self.good, 130.0)
        self.watch = DriftWatch(self.folder, ProductDrift("", model, self.monitor))

    def see(self, mean, count):
        """What is told while so many scores are seen."""
        told = []
        for score in np.round(self.rng.normal(mean, 10, count)):
            self.moment += drift.INTERVAL_SECONDS
            self.monitor.add(self.moment, score)
            told += [(kind, facts["drifted"]) for kind, facts in self.watch.check()]
        return told


BEGAN, OVER = [("drift", True)], [("drift", False)]


@pytest.mark.parametrize("seed", range(4))
def test_told_once_when_it_begins_and_once_when_it_is_over(tmp_path, seed):
    line = Line(tmp_path, seed)
    assert line.see(100, 300) == []
    assert line.see(115, 1500) == BEGAN, "however long it lasts"
    assert line.see(100, 2000) == OVER
    assert line.see(100, 300) == []
    assert line.see(85, 300) == BEGAN


def test_facts_say_how_far(tmp_path):
    line = Line(tmp_path, 1)
    line.see(118, 40)
    line.watch.is_told = False
    line.monitor.add(line.moment + 10, 120.0)
    ((_, facts),) = line.watch.check()
    assert facts == msgspec.to_builtins(msgspec.convert(facts, SYSTEM_EVENTS["model.drift"])), "as documented"
    assert facts["model"] == MODEL
    assert facts["samples"] == line.monitor.samples
    assert facts["share_above"] > 0.3 > facts["share_below"]


def test_what_was_told_outlasts_a_restart(tmp_path):
    line = Line(tmp_path, 2)
    assert line.see(116, 200) == BEGAN
    line.start()
    assert line.see(116, WINDOW + 300) == [], "it is known"
    line.start()
    assert line.see(100, WINDOW - 1) == [], "too few scores since the start"
    assert line.see(100, 200) == OVER
    line.start()
    assert line.see(100, WINDOW + 100) == []


def test_another_release_begins_anew(tmp_path):
    line = Line(tmp_path, 3)
    assert line.see(116, 200) == BEGAN
    line.start("weave:2:cd")
    assert line.see(116, 200) == BEGAN


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"model": 1}'])
def test_damaged_memory_ends_nothing(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    assert Line(tmp_path, 4).see(116, 200) == BEGAN


def test_a_disk_that_takes_nothing_is_logged(tmp_path, caplog):
    (tmp_path / FILE_NAME).mkdir()
    line = Line(tmp_path, 5)
    assert line.see(116, 200) == BEGAN
    assert line.see(100, 500) == OVER
    assert caplog.text.count("after a restart this may be told again") == 2


def test_without_good_scores_nothing_is_told(tmp_path):
    assert list(DriftWatch(tmp_path, ProductDrift("", MODEL, None)).check()) == []


def test_drift_of_each_product_is_told_once_also_over_restarts(tmp_path):
    """Two products with one bundle; the scores of the second drift."""
    lines = [Line(tmp_path, seed) for seed in (1, 2)]

    def start():
        for number, (line, name) in enumerate(zip(lines, ("left", "right"), strict=True)):
            line.start()
            line.watch = DriftWatch(tmp_path, ProductDrift(name, MODEL, line.monitor), number)

    start()
    assert lines[0].see(100, 300) == []
    told = []
    for _ in range(300):
        lines[1].moment += drift.INTERVAL_SECONDS
        lines[1].monitor.add(lines[1].moment, 118.0)
        told += [facts for _, facts in lines[1].watch.check()]
    assert [(each["product"], each["drifted"]) for each in told] == [("right", True)]
    start()
    assert lines[1].see(118, 300) == [], "it was told before the restart"
    assert lines[0].see(118, 300) == BEGAN, "that of the other product is told by itself"
