"""Other content in the text of a camera's file: comments stay, and nothing else changes."""

from __future__ import annotations

import tomllib

import pytest

from vedette.runtime.errors import ConfigProblem
from vedette.runtime.page.camera_text import change_text, set_threshold

TEXT = """source = "file:parts"  # the belt
bundle = "installed:cells"

# alarms
[[rules]]
use = "presence"   # scratches
debounce = 2

[[rules]]
use = "zone"
name = "yard"
threshold = 9
[[rules]]
threshold = 0.5  # by hand
name = "second"
use = 'presence'
[health]
"""


def test_comments_order_and_other_rules_stay() -> None:
    changed = set_threshold(TEXT, 0.62)
    assert changed == TEXT.replace("debounce = 2\n", "debounce = 2\nthreshold = 0.62\n")
    assert set_threshold(changed, 0.7) == changed.replace("0.62", "0.7")


@pytest.mark.parametrize(
    "text",
    [
        'source = "x"\nrules = [{use = "presence"}, {use = "zone", threshold = 3.0}]\n',
        'source = "x"\n[[rules]]\nuse = "presence"\nlabels = [\n "a",\n]',
        'source = "x"\n[[rules]]\nlabel = "a"\nuse = "presence"',
    ],
    ids=["inline", "list", "no line end"],
)
def test_says_what_it_should_however_the_file_is_written(text: str) -> None:
    before, after = tomllib.loads(text), tomllib.loads(set_threshold(text, 1.5))
    before["rules"][0]["threshold"] = 1.5
    assert after == before


def test_no_such_rule_is_told() -> None:
    with pytest.raises(ConfigProblem, match="no rule presence"):
        set_threshold('source = "x"\n[[rules]]\nuse = "zone"\n', 1.0)


STRINGS = '''source = "x"
note = """
[[rules]]   # "no" header
use = "presence"
"""
[[rules]]
use = "presence"
name = """a\\"""
[[rules]]
b"""  # after it
threshold = 1.0  # by hand
other = \'\'\'
[privacy]
zones = 1\'\'\'
[[rules.parts]]
a = 1
'''


def test_a_line_in_a_string_is_no_header() -> None:
    assert set_threshold(STRINGS, 2.5) == STRINGS.replace("threshold = 1.0", "threshold = 2.5")
    wanted = tomllib.loads(STRINGS)
    wanted["rules"][0]["line"] = [[0.0, 0.5], [1.0, 0.5]]
    changed = change_text(STRINGS, wanted)
    assert changed == STRINGS.replace("[[rules.parts]]", "line = [[0.0, 0.5], [1.0, 0.5]]\n[[rules.parts]]")
    assert change_text(STRINGS, tomllib.loads(STRINGS)) == STRINGS


def test_a_file_without_rules_takes_a_mask() -> None:
    wanted = {"source": "x", "privacy": {"zones": [[[0, 0], [1, 0], [1, 1]]]}}
    assert tomllib.loads(change_text('source = "x"  # the belt\n', wanted)) == wanted


def test_comments_inside_a_value_stand_above_it() -> None:
    text = """source = "x"
[[rules]]
use = "zone"
polygon = [  # the yard
  [0.1, 0.1],  # "gate" ]
  [0.9, 0.1],
  # by the wall
  [0.9, 0.9],
]  # measured
name = "yard"
"""
    wanted = tomllib.loads(text)
    wanted["rules"][0]["polygon"][0] = [0.2, 0.1]
    start, _, end = text.partition("polygon")
    line = "polygon = [[0.2, 0.1], [0.9, 0.1], [0.9, 0.9]]  # measured\n"
    expected = f'{start}# the yard\n# "gate" ]\n# by the wall\n{line}name{end.partition("name")[2]}'
    assert change_text(text, wanted) == expected
