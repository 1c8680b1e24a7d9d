"""Another threshold in a camera's file: comments stay, and only the first rule of the kind presence changes."""

from __future__ import annotations

import tomllib

import pytest

from vedette.runtime.errors import ConfigProblem
from vedette.runtime.page.threshold_text import set_threshold

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
    assert changed == TEXT.replace("# scratches\n", "# scratches\nthreshold = 0.62\n")
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
