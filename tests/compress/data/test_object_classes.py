"""Classes of one's own in labels of objects: their names, enough objects of each, and the split."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from vedette.compress.data import object_classes
from vedette.compress.data.audit.findings import AuditResult
from vedette.compress.data.labeled_images import LabeledImages
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation.annotated_object import AnnotatedObject
from vedette.runtime.inference.prediction import Box
from vedette.runtime.progress import no_log

NAMES = ("bolt", "nut")
BOX = Box(0.1, 0.1, 0.3, 0.3)


def split(truth, seed=0, groups=None):
    paths = sorted(truth)
    groups = groups or {path: path.stem for path in paths}
    images = LabeledImages({"good": paths}, {"good": Path("images")}, groups)
    audit = AuditResult(Path(), {"good": paths}, (), groups)
    return object_classes.split_by_objects(images, audit, truth, NAMES, seed)


def make_truth(bolts, nuts, count=40):
    """Images of which the first ones hold a bolt and the last ones a nut."""
    paths = [Path(f"images/{number:02d}.jpg") for number in range(count)]
    truth = dict.fromkeys(paths, ())
    for label, chosen in ((0, paths[:bolts]), (1, paths[::-1][:nuts])):
        for path in chosen:
            truth[path] += (AnnotatedObject(label, BOX), AnnotatedObject(label, BOX))
    return truth


@pytest.mark.parametrize("seed", range(5))
def test_each_part_has_each_class_and_whole_groups(seed):
    truth = make_truth(30, 6)
    groups = {path: f"{number // 2}" for number, path in enumerate(sorted(truth))}
    with pytest.raises(ConfigProblem, match="'nut' has 12 objects in 3 groups"):
        split(truth, seed, groups)
    truth = make_truth(30, 10)
    made = split(truth, seed, groups)
    parts = [made.fit, made.calibrate, made.threshold, made.test]
    assert sorted(path for part in parts for path in part) == sorted(truth)
    for part in parts:
        assert {each.label for path in part for each in truth[path]} == {0, 1}
    for group in set(groups.values()):
        assert sum(any(groups[path] == group for path in part) for part in parts) == 1
    assert split(truth, seed, groups) == made


def test_a_class_with_too_few_objects_is_named():
    with pytest.raises(ConfigProblem, match="'nut' has 8 objects in 4 groups") as problem:
        split(make_truth(30, 4))
    assert "10 objects in 4 images" in problem.value.hint


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), np.zeros((20, 20, 3), np.uint8))
        (tmp_path / "labels" / f"{number}.txt").write_text(f"{number} 0.5 0.5 0.2 0.2\n")
    return tmp_path


def test_numbers_without_names_are_refused(folder):
    with pytest.raises(ConfigProblem, match="numbers and no names") as problem:
        object_classes.read_objects(folder / "images", folder / "labels", (), no_log)
    assert "classes.txt" in problem.value.hint


def test_names_come_from_the_goal_file_or_from_classes_txt(folder):
    read = object_classes.read_objects
    names, truth = read(folder / "images", folder / "labels", ("a", "b", "c"), no_log)
    assert names == ("a", "b", "c")
    assert [each.label for path in sorted(truth) for each in truth[path]] == [0, 1, 2]
    (folder / "labels" / "classes.txt").write_text("x\ny\nz\nunused\n")
    assert read(folder / "images", folder / "labels", (), no_log)[0] == ("x", "y", "z")
    notes = []
    names, truth = read(folder / "images", folder / "labels", ("z", "x"), notes.append)
    assert names == ("z", "x")
    assert [each.label for path in sorted(truth) for each in truth[path]] == [1, 0]
    assert notes == ["left out: 1 objects of classes that are not to be learned"]
    with pytest.raises(ConfigProblem, match="no objects of 'w'"):
        read(folder / "images", folder / "labels", ("w",), no_log)


def test_names_come_from_the_categories_that_have_a_box(folder):
    content = {
        "images": [{"id": 1, "file_name": "0.png", "width": 20, "height": 20}],
        "annotations": [{"image_id": 1, "category_id": 5, "bbox": [2, 2, 5, 5]}],
        "categories": [{"id": 4, "name": "all"}, {"id": 5, "name": "bolt"}],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    names, _ = object_classes.read_objects(folder / "images", folder / "coco.json", (), no_log)
    assert names == ("bolt",)
