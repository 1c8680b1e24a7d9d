"""Reference images that the goal names: they and their groups are fitted to, and nothing else changes its part."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedette.compress.data.reference_images import check_references, find_candidates, place_references
from vedette.compress.data.split import Split
from vedette.runtime.errors import ConfigProblem

FOLDER = Path("good")
NAMES = [FOLDER / f"{number:02d}.png" for number in range(12)]


def make_split(**changed):
    groups = {path: f"part {number // 2}" for number, path in enumerate(NAMES)}
    parts = {"fit": NAMES[:4], "calibrate": NAMES[4:6], "threshold": NAMES[6:8], "test": NAMES[8:]}
    return Split(**{**parts, "defect": [], "masks": {}, "groups": groups, **changed})


def test_references_and_their_groups_are_fitted_to():
    images = place_references(["09.png", "01.png"], FOLDER, make_split())
    assert images.references == [NAMES[1], NAMES[9]]
    assert images.fit == [*NAMES[:4], NAMES[8], NAMES[9]]
    assert images.test == NAMES[10:]
    assert (images.calibrate, images.threshold) == (NAMES[4:6], NAMES[6:8])


def test_nothing_changes_without_names():
    images = make_split()
    assert place_references([], FOLDER, images) == images


def test_an_unusual_image_that_is_named_is_fitted_to():
    images = place_references(["00.png"], FOLDER, make_split(fit=NAMES[1:4], unusual=NAMES[:1]))
    assert images.fit == NAMES[:4]
    assert images.unusual == []


@pytest.mark.parametrize(
    ("name", "message"), [("12.png", "is no good image"), ("04.png", "no image would be left for the part calibrate")]
)
def test_names_that_cannot_be_references_are_problems(name, message):
    with pytest.raises(ConfigProblem, match=message):
        place_references([name], FOLDER, make_split())
    with pytest.raises(ConfigProblem, match="is no good image"):
        place_references(["00.png"], FOLDER, make_split(set_aside=NAMES[:1]))


def test_a_reference_in_which_the_part_is_not_found_is_a_problem():
    images = place_references(["00.png"], FOLDER, make_split())
    check_references(images)
    with pytest.raises(ConfigProblem, match=r"00\.png was left out"):
        check_references(make_split(references=NAMES[:1], fit=NAMES[1:4]))


def test_candidates_are_named_images_without_their_variations():
    assert find_candidates(NAMES[:3], [], 1).tolist() == [True, False] * 3
    assert find_candidates(NAMES[:3], NAMES[1:2], 1).tolist() == [False, False, True, False, False, False]
    assert find_candidates(NAMES[:3], NAMES[5:6], 0).tolist() == [True] * 3
