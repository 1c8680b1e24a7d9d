"""Shapes of a camera's file, and a changed content written into its text."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from vedette.runtime.errors import ConfigProblem
from vedette.runtime.page.camera_text import change_text
from vedette.runtime.page.change_views import diff_lines
from vedette.runtime.page.draft_check import check_draft
from vedette.runtime.page.draw_views import draft_text
from vedette.runtime.page.drawn_shapes import Shape, apply_shapes, read_shapes

SQUARE = [(0.1, 0.1), (0.5, 0.1), (0.5, 0.5)]
TOP = """\
source = "file:parts"  # a # in "quotes"
bundle = "installed:cells"
"""
RULES = """
# first
[[rules]]
use = "zone"     # a stay
name = "yard"
zones.a = [
  [0.1, 0.1], # corner ]
  [0.9, 0.1],
  [0.9, 0.9],
]
labels = ["person"]

[[rules]]
use = "crossing"
line = [[0, 0.5], [1, 0.5]]   # the gate
# last
[[rules]]
use = "dwell"
seconds = 20

[gate]
seconds = 2.0
"""


def save(path: Path, shapes: list[Shape]) -> str:
    return draft_text(path.read_text(), shapes, path.name)


def read(path: Path) -> list[Shape]:
    return read_shapes(tomllib.loads(path.read_text()))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text('[device]\nname = "box"\n')
    path = tmp_path / "cameras" / "door.toml"
    path.write_text(TOP + RULES)
    return path


def test_what_is_drawn_is_read_and_nothing_changes_without_a_change(file: Path) -> None:
    shapes = read(file)
    assert [(each.key, each.rule, each.name) for each in shapes] == [("zones", 0, "a"), ("line", 1, "crossing")]
    assert save(file, shapes) == file.read_text()


def test_one_moved_point_changes_one_line(file: Path) -> None:
    zone, line = read(file)
    moved = msgspec.structs.replace(line, points=[(0.0, 0.5), (1.0, 0.6)])
    expected = file.read_text().replace(
        "line = [[0, 0.5], [1, 0.5]]   # the gate", "line = [[0.0, 0.5], [1.0, 0.6]]  # the gate"
    )
    assert save(file, [zone, moved]) == expected


def test_a_zone_of_a_rule_without_one_a_mask_and_a_new_rule(file: Path) -> None:
    shapes = read(file)
    door = Shape("zones", SQUARE, 2, "dwell", "door")
    text = save(file, [*shapes, door, Shape("privacy", SQUARE), Shape("line", SQUARE, use="crossing", name="crossing")])
    content, points = tomllib.loads(text), [list(point) for point in SQUARE]
    assert content["privacy"] == {"zones": [points]}
    assert content["rules"][2] == {"use": "dwell", "seconds": 20, "zones": {"door": points}}
    assert content["rules"][3] == {"use": "crossing", "name": "crossing-2", "line": points}
    assert text.startswith(file.read_text().partition("seconds = 20")[0])
    assert text.count("[gate]\nseconds = 2.0\n") == 1


def test_a_rule_goes_with_its_only_shape(file: Path) -> None:
    (zone, _) = read(file)
    text = save(file, [zone])
    assert [rule["use"] for rule in tomllib.loads(text)["rules"]] == ["zone", "dwell"]
    assert "# the gate" not in text
    assert "# corner ]" in text


@pytest.mark.parametrize(
    "rules",
    [
        '[[rules]]\nuse = "zone"\n[rules.zones]\na = [[0, 0], [1, 0], [1, 1]]\nb = [[0, 0], [1, 0], [1, 1]]\n[gate]\n',
        'rules = [{ use = "zone", zones = { a = [[0, 0], [1, 0], [1, 1]], b = [[0, 0], [1, 0], [1, 1]] } }]\n',
        '[[rules]]\nuse = "zone"\nzones = { a = [[0, 0], [1, 0], [1, 1]], b = [[0, 0], [1, 0], [1, 1]] }\n',
        '[[rules]]\n"use" = "zone"\n"zones"."a" = [[0, 0], [1, 0], [1, 1]]\nzones.b = [[0, 0], [1, 0], [1, 1]]',
        '[[ rules ]]\nuse = """zone"""\n[ rules.zones ]\na = [[0, 0],\n\n[1, 0], [1, 1]]\nb = [[0, 0], [1, 0], [1, 1]]',
    ],
)
def test_the_content_is_right_however_the_file_is_written(rules: str) -> None:
    text = TOP + rules
    content = tomllib.loads(text)
    shapes = read_shapes(content)
    wanted = apply_shapes(content, [msgspec.structs.replace(shapes[0], points=SQUARE), Shape("privacy", SQUARE)])
    assert list(wanted["rules"][0]["zones"]) == ["a"]
    changed = change_text(text, wanted, set())
    assert tomllib.loads(changed) == wanted
    assert changed.startswith(TOP)


def test_the_region_of_interest_is_a_key_of_the_camera(file: Path) -> None:
    original, shapes = file.read_text(), read(file)
    drawn = save(file, [*shapes, Shape("region", SQUARE)])
    assert tomllib.loads(drawn)["region"] == [list(point) for point in SQUARE]
    assert drawn.replace(f"region = {[list(point) for point in SQUARE]}\n", "") == original
    file.write_text(drawn)
    assert [each.key for each in read(file)] == ["region", "zones", "line"]
    moved = save(file, [Shape("region", [*SQUARE, (0.1, 0.5)]), *shapes])
    assert moved.count("region = ") == 1
    assert tomllib.loads(moved)["region"][3] == [0.1, 0.5]
    assert save(file, shapes) == original
    assert check_draft(file.parent.parent, "door", drawn) == ""


def test_wrong_shapes_are_refused(file: Path) -> None:
    wrong = {
        "named": [Shape("zones", SQUARE, 2, "dwell", "a"), Shape("zones", SQUARE, 2, "dwell", "a")],
        "no name": [Shape("zones", SQUARE, 2, "dwell", "a b")],
        "begins with": [Shape("line", SQUARE, use="zone")],
        "one region": [Shape("region", SQUARE), Shape("region", SQUARE)],
        "no rule 9": [Shape("zones", SQUARE, 9, "dwell", "a")],
    }
    for message, shapes in wrong.items():
        with pytest.raises(ConfigProblem, match=message):
            save(file, shapes)


def test_the_loader_of_the_daemon_judges_a_draft(file: Path) -> None:
    folder = file.parent.parent
    crossed = Shape("privacy", [(0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9)])
    assert check_draft(folder, "door", file.read_text()) == ""
    said = check_draft(folder, "door", save(file, [*read(file), crossed]))
    assert "door.toml" in said
    assert "cross" in said


def test_the_difference_shows_no_login(file: Path) -> None:
    text = file.read_text().replace('"file:parts"', '"rtsp://operator:very-secret@10.0.0.7/1"').replace(RULES, "")
    mask = f"{text}[privacy]\nzones = {{ a = [[0, 0], [1, 0], [1, 1]] }}\n"
    lines = {line.text: line.sign for line in diff_lines(text, mask)}
    assert lines["zones = { a = [[0, 0], [1, 0], [1, 1]] }"] == "+"
    shown = "\n".join(lines)
    assert "10.0.0.7/1" in shown
    assert "very-secret" not in shown
