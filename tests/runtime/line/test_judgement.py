"""What a part's event says of its regions: where, what, how much, and each with its own verdict."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from vedette.runtime.config.trigger_table import TriggerSettings
from vedette.runtime.events.part_verdict import RegionVerdict
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.line.judgement import Judge, combine

MANIFEST: Any = SimpleNamespace(name="x", release=1, normal=("good",), decision_threshold=1.0, motion=None)
JUDGE = Judge(TriggerSettings("mqtt:", warn=0.8), MANIFEST)
RIM, HOLE = Box(0.1, 0.1, 0.3, 0.3), Box(0.6, 0.6, 0.7, 0.7)


def test_each_region_has_its_finding_and_its_verdict() -> None:
    found = [
        Prediction("dent", 0.9, HOLE),
        Prediction("dent", 0.5, RIM),
        Prediction("scratch", 1.5, RIM, area="rim"),
        Prediction("scratch", 1.2, HOLE, area="rim"),
        Prediction("good", 3.0),
    ]
    judgement = JUDGE.judge(found)
    assert (judgement.verdict, judgement.score) == ("reject", 1.5)
    assert judgement.regions == (
        RegionVerdict("rim", "reject", 1.5, "scratch", RIM),
        RegionVerdict("", "warn", 0.9, "dent", HOLE),
    )
    whole = JUDGE.judge([Prediction("anomaly", 1.5)])
    assert (whole.verdict, whole.regions) == ("reject", ()), "no place is known"
    assert len(JUDGE.judge([Prediction("dent", 1 + number, RIM) for number in range(40)]).regions) == 16


def test_boxes_are_those_of_the_picture_that_is_stored() -> None:
    """It is the first one that is rejected."""
    first, worse = (JUDGE.judge([Prediction("dent", score, RIM, area="rim")]) for score in (1.2, 1.8))
    fine = JUDGE.judge([Prediction("dent", 0.2, RIM, area="rim")])
    assert combine([fine, worse, first], "worst") == worse
    assert combine([first, worse], "worst").regions == (RegionVerdict("rim", "reject", 1.8, "dent"),)
    assert combine([worse, fine, first], "vote") == worse
