"""The scenes in which `make count-rules` counts the instructions of each rule: none is forgotten, and each reports."""

from __future__ import annotations

import sys

import pytest
from paths import ROOT
from scenes import CONTEXT

from vedette.runtime.config.tracker_table import TrackerSettings
from vedette.runtime.rules import RULES, load_rule
from vedette.runtime.tracking.tracker import Tracker

sys.path.append(str(ROOT / "tests/bench/arm64"))

from rule_scenes import RULE_SCENES, film


def test_every_rule_has_a_scene():
    assert RULE_SCENES.keys() == RULES.keys()


@pytest.mark.parametrize("name", RULES)
def test_the_rule_reports_somebody_in_its_scene(name):
    kind, table = RULE_SCENES[name]
    rule, tracker = load_rule({"use": name, **table}, CONTEXT), Tracker(TrackerSettings(), CONTEXT.threshold)
    for frame, seen in film(kind, 5 if name == "tailgate" else 1, (240, 320)):
        if any(event.kind == "new" for event in rule.observe(frame, tracker.update(frame, seen))):
            return
    pytest.fail("no event")
