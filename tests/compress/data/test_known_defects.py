"""Known defects help a build, and none of them is a test image in another form."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vedette.compress.data import labeled_images, split
from vedette.compress.goal import goal_reader
from vedette.compress.goal.goal_tables import DataSettings
from vedette.runtime.errors import ConfigProblem


def scene(seed, size=120):
    """An image unlike any other: blobs of color with the noise of a camera."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.uniform(20, 235, (6, 6, 3)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return (coarse + rng.normal(0, 6, (size, size, 1))).clip(0, 255).astype(np.uint8)


def write(folder, images):
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        cv2.imwrite(str(folder / name), image)


@pytest.fixture
def folder(tmp_path):
    """Twenty-four good, four defective and six known images; the known ones in two folders, with masks."""
    write(tmp_path / "good", {f"part{number // 4}-{number}.png": scene(number) for number in range(24)})
    write(tmp_path / "defect", {f"part{20 + number}-0.png": scene(100 + number) for number in range(4)})
    write(tmp_path / "known" / "scratch", {f"part{30 + number}-0.png": scene(200 + number) for number in range(3)})
    write(tmp_path / "known" / "dent", {f"part{40 + number}-0.png": scene(300 + number) for number in range(3)})
    write(tmp_path / "known" / "masks", {"part30-0.png": np.full((120, 120), 255, np.uint8)})
    return tmp_path


def names(paths):
    return {path.name for path in paths}


DATA = DataSettings(good="good", defect="defect", known="known")


def test_known_defects_are_found_without_their_masks_and_are_in_no_other_part(folder):
    images = split.audit_and_split(DATA, folder)
    assert len(images.known) == 6
    assert not any("masks" in path.parts for path in images.known)
    parts = [images.fit, images.calibrate, images.threshold, images.test, images.defect, images.known]
    listed = [path for part in parts for path in part]
    assert len(listed) == len(set(listed)) == 34
    assert images.known_left_out == images.audit["known_left_out"] == []


def test_split_of_the_other_images_does_not_depend_on_known_defects(folder):
    with_known = split.audit_and_split(DATA, folder)
    without = split.audit_and_split(DataSettings(good="good", defect="defect"), folder)
    for part in ("fit", "calibrate", "threshold", "test", "defect"):
        assert getattr(with_known, part) == getattr(without, part)
    assert without.known == []
    assert "known_left_out" not in without.audit


def test_copies_of_test_images_are_left_out_of_the_known_defects_alone(folder):
    tested = split.audit_and_split(DATA, folder).test[0]
    write(folder / "known", {"exact.bmp": scene(100)})
    near = cv2.imencode(".jpg", scene(101), [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    (folder / "known" / "near.jpg").write_bytes(near)
    good = cv2.imencode(".jpg", cv2.imread(str(tested)), [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    (folder / "known" / "good.jpg").write_bytes(good)
    log: list[str] = []
    images = split.audit_and_split(DATA, folder, log=log.append)
    left_out = {"exact.bmp", "near.jpg", "good.jpg"}
    assert names(images.known_left_out) == left_out
    assert len(images.known) == 6
    assert len(images.defect) == 4, "the test images stay"
    assert tested in images.test
    for name in left_out:
        assert f"left out: known/{name}: a copy of a test image, or in the group of one" in log


def test_picture_that_is_both_known_defect_and_good_is_used_for_neither(folder):
    write(folder / "known", {"same.bmp": scene(5)})
    images = split.audit_and_split(DATA, folder)
    used = names([*images.fit, *images.calibrate, *images.threshold, *images.test, *images.known])
    assert not used & {"same.bmp", "part1-5.png"}


def test_known_defects_in_a_group_of_test_images_are_left_out(folder):
    write(folder / "known", {"part21-9.png": scene(400)})
    grouped = DataSettings(good="good", defect="defect", known="known", group=r"part(\d+)")
    images = split.audit_and_split(grouped, folder)
    assert names(images.known_left_out) == {"part21-9.png"}
    tested_good = images.test[0].name.partition("-")[0]
    write(folder / "known", {f"{tested_good}-9.png": scene(401)})
    images = split.audit_and_split(grouped, folder)
    assert names(images.known_left_out) == {"part21-9.png", f"{tested_good}-9.png"}


def test_known_defects_that_are_all_test_images_are_refused(folder):
    copies = folder / "copies"
    write(copies, {"a.png": scene(100), "b.png": scene(101)})
    with pytest.raises(ConfigProblem, match=r"data\.known: each of the 2 known defects is a copy"):
        split.audit_and_split(DataSettings(good="good", defect="defect", known="copies"), folder)


def test_unusable_known_defects_are_left_out_and_named(folder):
    (folder / "known" / "broken.png").write_bytes(b"not a picture")
    log: list[str] = []
    images = split.audit_and_split(DATA, folder, log=log.append)
    assert len(images.known) == 6
    assert any(line.startswith("left out: known/broken.png") for line in log)
    assert [each["file"] for each in images.audit["left_out"]] == ["known/broken.png"]


def test_known_defects_with_fixed_test_images(folder):
    (folder / "fixed").mkdir()
    (folder / "defect").rename(folder / "fixed" / "defect")
    write(folder / "fixed" / "good", {f"{number}.png": scene(500 + number) for number in range(3)})
    write(folder / "known", {"exact.bmp": scene(100)})
    images = split.audit_and_split(DataSettings(good="good", test="fixed", known="known"), folder)
    assert names(images.known_left_out) == {"exact.bmp"}
    assert len(images.known) == 6


@pytest.mark.parametrize("known", ["good", "defect", "."])
def test_known_defects_among_other_images_are_refused(folder, known):
    with pytest.raises(ConfigProblem, match=r"would be in data\.known and in another folder"):
        labeled_images.find_images(DataSettings(good="good", defect="defect", known=known), folder)


def test_unknown_folder_and_other_tasks_are_refused(folder):
    goal = folder / "goal.toml"
    goal.write_text('name = "a"\ntask = "anomaly"\n[data]\ngood = "good"\nknown = "absent"\n')
    with pytest.raises(ConfigProblem, match=r"data\.known: no folder"):
        goal_reader.read_goal(goal)
    goal.write_text('name = "a"\ntask = "classify"\n[data]\ngood = "good"\ndefect = "defect"\nknown = "known"\n')
    with pytest.raises(ConfigProblem, match=r'data\.known does not apply to task = "classify"'):
        goal_reader.read_goal(goal)


def test_folder_with_nothing_but_masks_is_refused(folder):
    write(folder / "empty" / "masks", {"a.png": np.full((9, 9), 255, np.uint8)})
    with pytest.raises(ConfigProblem, match="no images of defects in it"):
        labeled_images.find_images(DataSettings(good="good", known="empty"), folder)
