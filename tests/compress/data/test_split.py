"""The split of an anomaly goal's images: disjoint parts, whole groups, matching masks."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from vedette.compress.data import groups, split
from vedette.compress.goal.goal_tables import DataSettings
from vedette.runtime.errors import ConfigProblem


@pytest.fixture
def folder(tmp_path):
    """Forty images of ten parts."""
    (tmp_path / "good").mkdir()
    for number in range(40):
        path = tmp_path / "good" / f"part{number // 4:02d}-{number:02d}.png"
        cv2.imwrite(str(path), np.full((9, 9), number, np.uint8))
    return tmp_path


def parts_of(images):
    return {part: getattr(images, part) for part in split.SPLIT_FRACTIONS}


@pytest.mark.parametrize("group", [None, r"^part(\d+)", r"part\d"])
def test_parts_of_a_split_are_disjoint_and_complete(folder, group):
    if group == r"part\d":
        with pytest.raises(ConfigProblem, match="makes 1 groups"):
            split.split_images(DataSettings(good="good", group=group), folder)
        return
    images = split.split_images(DataSettings(good="good", group=group), folder)
    names = [path for each in parts_of(images).values() for path in each]
    assert len(names) == len(set(names)) == 40
    assert all(parts_of(images).values())
    assert images.defect == []


def test_split_keeps_groups_whole(folder):
    for seed in range(10):
        images = split.split_images(DataSettings(good="good", group=r"^part(\d+)", seed=seed), folder)
        parts_of_group = {}
        for part, paths in parts_of(images).items():
            for path in paths:
                parts_of_group.setdefault(path.name[:6], set()).add(part)
        assert all(len(parts) == 1 for parts in parts_of_group.values())


def test_near_copies_that_leave_too_few_groups_are_named():
    made, merged, parts = ["a", "b", "c", "d", "d"], ["a"], list(split.SPLIT_FRACTIONS)
    problem = groups.too_few_groups(made, merged, parts)
    assert "near copies join the 4 groups of good images to 1" in problem.message
    assert "vedette audit" in problem.hint


def test_split_depends_on_the_seed_only(folder):
    first, again, other = (split.split_images(DataSettings(good="good", seed=seed), folder) for seed in (1, 1, 2))
    assert parts_of(first) == parts_of(again)
    assert parts_of(first) != parts_of(other)


@pytest.mark.parametrize("count", [1, 2, 19])
def test_few_good_images_are_all_used_to_fit_and_none_to_test(folder, count):
    for path in list((folder / "good").iterdir())[count:]:
        path.unlink()
    images = split.split_images(DataSettings(good="good"), folder)
    assert images.few
    assert images.fit == images.calibrate == images.threshold == sorted((folder / "good").iterdir())
    assert images.test == images.set_aside == []


def test_twenty_good_images_are_divided(folder):
    for path in list((folder / "good").iterdir())[20:]:
        path.unlink()
    images = split.split_images(DataSettings(good="good"), folder)
    assert not images.few
    assert not set(images.fit) & {*images.calibrate, *images.threshold, *images.test}


def test_test_images_alone_are_no_images_to_fit(folder):
    (folder / "fixed").mkdir()
    (folder / "good").rename(folder / "fixed" / "good")
    (folder / "good").mkdir()
    shutil.copy(folder / "fixed" / "good" / "part00-00.png", folder / "good" / "part00-99.png")
    with pytest.raises(ConfigProblem, match="no good images to fit"):
        split.split_images(DataSettings(good="good", test="fixed", group=r"(part\d+)"), folder)


def test_few_images_keep_the_fixed_test_images_apart(folder):
    (folder / "fixed").mkdir()
    (folder / "good").rename(folder / "fixed" / "good")
    (folder / "good").mkdir()
    for number in range(3):
        (folder / "fixed" / "good" / f"part{number:02d}-{4 * number:02d}.png").rename(folder / "good" / f"{number}.png")
    images = split.split_images(DataSettings(good="good", test="fixed"), folder)
    assert len(images.fit) == 3
    assert len(images.test) == 37
    assert not set(images.fit) & set(images.test)


def test_defective_image_among_good_ones_is_refused(folder):
    (folder / "good" / "defect").mkdir()
    cv2.imwrite(str(folder / "good" / "defect" / "bad.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(ConfigProblem, match=r"bad\.png would count as good and as defective"):
        split.split_images(DataSettings(good="good", defect="good/defect"), folder)


def test_masks_without_a_defective_image_are_refused(folder):
    (folder / "mask").mkdir()
    cv2.imwrite(str(folder / "mask" / "x.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(ConfigProblem, match="no mask belongs to a defective image"):
        split.split_images(DataSettings(good="good", mask="mask"), folder)


def test_masks_are_matched_by_file_stem_and_read_from_the_alpha_channel(folder):
    for name in ("defect", "mask"):
        (folder / name).mkdir()
    image = np.zeros((8, 8, 3), np.uint8)
    for stem in ("a", "b", "c"):
        cv2.imwrite(str(folder / "defect" / f"{stem}.jpg"), image)
    colour = np.zeros((8, 8, 4), np.uint8)
    colour[:, :, 1] = 200
    colour[2:4, 2:4, 3] = 255
    cv2.imwrite(str(folder / "mask" / "a.png"), colour)
    plain = np.zeros((8, 8), np.uint8)
    plain[0, 0] = 255
    cv2.imwrite(str(folder / "mask" / "b.png"), plain)
    images = split.split_images(DataSettings(good="good", defect="defect", mask="mask"), folder)
    assert {path.stem: mask.stem for path, mask in images.masks.items()} == {"a": "a", "b": "b"}
    masks = {path.stem: split.read_mask(mask) for path, mask in images.masks.items()}
    assert masks["a"].sum() == 4
    assert masks["b"].sum() == 1
    assert isinstance(Path(images.defect[0]), Path)
