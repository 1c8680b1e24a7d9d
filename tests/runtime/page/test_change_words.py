"""A change of a camera's file in words, before it is saved and on the button that takes it back."""

from __future__ import annotations

import tomllib

from vedette.runtime.page.change_words import describe_undo, list_changes
from vedette.runtime.page.page_undo import PageUndo
from vedette.runtime.page.translation import load_translation

ENGLISH = load_translation("en")
BEFORE = """fps = 2
[privacy]
zones = [[[0, 0], [1, 0], [1, 1]]]
[[rules]]
use = "presence"
[[rules]]
use = "zone"
name = "yard"
polygon = [[0, 0], [1, 0], [1, 1]]
"""
AFTER = """fps = 4
region = [[0, 0], [1, 0], [1, 1]]
[[rules]]
use = "presence"
threshold = 4
cooldown = 3
[[rules]]
use = "crossing"
name = "line"
line = [[0, 0], [1, 1]]
"""


def test_each_change_has_its_phrase() -> None:
    before, after = tomllib.loads(BEFORE), tomllib.loads(AFTER)
    assert list_changes(before, after, ENGLISH) == [
        "region of interest added",
        "privacy masks: 1 → 0",
        "rule yard removed",
        "threshold of the rule presence: the model's own → 4",
        "rule presence changed: cooldown",
        "rule line added",
        "changed: fps",
    ]
    assert list_changes(before, before, ENGLISH) == []
    moved = tomllib.loads(BEFORE.replace("[1, 1]]\n", "[0, 1]]\n").replace("[1, 1]]]", "[0, 1]]]"))
    assert list_changes(before, moved, ENGLISH) == ["privacy masks changed", "shape of the rule yard changed"]


def test_the_button_names_what_it_takes_back() -> None:
    before, after = 'source = "x"\n', 'source = "x"\nregion = [[0, 0], [1, 0], [1, 1]]\n'
    assert describe_undo(None, "belt.toml", ENGLISH) == ""
    assert describe_undo(PageUndo(after, before, "15:41"), "belt.toml", ENGLISH) == "Undo: region of interest added"
    assert describe_undo(PageUndo(before, after, "15:43"), "belt.toml", ENGLISH) == "Undo: region of interest removed"
