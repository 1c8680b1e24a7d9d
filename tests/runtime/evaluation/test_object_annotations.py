"""Label files: boxes lie where people drew them, and what is unclear is an error that names the image."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation.object_annotations import read_annotations

NAMES = ("red", "green")
TURNED = 6  # EXIF orientation: shown after a quarter turn


def write_picture(path: Path, width: int, height: int, orientation: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def write_coco(folder: Path, images: list[dict[str, Any]], boxes: list[tuple[Any, list[float]]]) -> Path:
    content = {
        "images": images,
        "annotations": [{"image_id": image, "category_id": 7, "bbox": box} for image, box in boxes],
        "categories": [{"id": 7, "name": "red"}],
    }
    (folder / "labels.json").write_text(json.dumps(content))
    return folder / "labels.json"


def listed(file_name: str, width: float = 300, height: float = 200, identifier: Any = 1) -> dict[str, Any]:
    return {"id": identifier, "file_name": file_name, "width": width, "height": height}


@pytest.mark.parametrize(
    ("stored", "orientation", "size"),
    [
        ((300, 200), None, (300, 200)),
        ((200, 300), TURNED, (300, 200)),
        ((200, 300), TURNED, (200, 300)),  # the size of the stored picture beside boxes of the shown one
        ((900, 601), None, (300, 200)),  # labels of a smaller copy
    ],
)
def test_box_lies_where_it_was_drawn(tmp_path, stored, orientation, size):
    write_picture(tmp_path / "images" / "1.jpg", stored[0], stored[1], orientation)
    labels = write_coco(tmp_path, [listed("1.jpg", *size)], [(1, [120, 60, 60, 40])])
    ((one,),) = read_annotations(tmp_path / "images", labels, NAMES).values()
    box = one.box
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((0.4, 0.3, 0.6, 0.5), abs=0.01)


def test_picture_of_another_shape_is_an_error_with_both_sizes(tmp_path):
    write_picture(tmp_path / "images" / "1.jpg", 300, 300)
    labels = write_coco(tmp_path, [listed("1.jpg")], [(1, [120, 60, 60, 40])])
    with pytest.raises(ConfigProblem, match=r"1\.jpg.*300 x 300 pixels, the file says 300 x 200"):
        read_annotations(tmp_path / "images", labels, NAMES)


def test_name_that_two_pictures_have_is_an_error_naming_both(tmp_path):
    for folder in "ab":
        write_picture(tmp_path / "images" / folder / "1.jpg", 300, 200)
    labels = write_coco(tmp_path, [listed("1.jpg")], [(1, [120, 60, 60, 40])])
    with pytest.raises(ConfigProblem, match=r"1\.jpg may be .*a/1\.jpg or .*b/1\.jpg"):
        read_annotations(tmp_path / "images", labels, NAMES)


@pytest.mark.parametrize("name", ["a/1.jpg", "a\\1.jpg", "./a/1.jpg", "images/a/1.jpg", "/mnt/set/images/a/1.jpg"])
def test_path_decides_between_two_pictures(tmp_path, name):
    for folder in "ab":
        write_picture(tmp_path / "images" / folder / "1.jpg", 300, 200)
    found = read_annotations(tmp_path / "images", write_coco(tmp_path, [listed(name)], [(1, [3, 2, 30, 20])]), NAMES)
    assert [path.parent.name for path in found] == ["a"]


def test_two_names_of_one_picture_are_an_error(tmp_path):
    write_picture(tmp_path / "images" / "1.jpg", 300, 200)
    entries = [listed("train/1.jpg"), listed("val/1.jpg", identifier=2)]
    with pytest.raises(ConfigProblem, match=r"train/1\.jpg and val/1\.jpg both mean"):
        read_annotations(tmp_path / "images", write_coco(tmp_path, entries, [(1, [3, 2, 30, 20])]), NAMES)


@pytest.mark.parametrize("box", [[], [10, 10, 0, 5], [10, 10, 5, 0], [0, 0, 0, 0]])
def test_box_without_an_area_is_left_out_and_counted(tmp_path, box):
    write_picture(tmp_path / "images" / "1.jpg", 300, 200)
    labels = write_coco(tmp_path, [listed("1.jpg", identifier="one")], [("one", box), ("one", [3, 2, 30, 20])])
    lines: list[str] = []
    ((one,),) = read_annotations(tmp_path / "images", labels, NAMES, lines.append).values()
    assert one.box.left == pytest.approx(0.01)
    assert len(lines) == 1
    assert "left out: 1 boxes without an area" in lines[0]
    assert "1.jpg" in lines[0]


@pytest.mark.parametrize("box", [[10, 10, 5], [10, 10, 400, 5], [10, 10, -5, 5]])
def test_error_of_a_coco_box_names_the_image_and_the_remedy_of_coco(tmp_path, box):
    write_picture(tmp_path / "images" / "1.jpg", 300, 200)
    with pytest.raises(ConfigProblem, match=r"1\.jpg: annotations\[0\]") as problem:
        read_annotations(tmp_path / "images", write_coco(tmp_path, [listed("1.jpg")], [(1, box)]), NAMES)
    assert "bbox is [left, top, width, height]" in str(problem.value.hint)


def test_coco_file_of_other_images_shows_a_name_of_each(tmp_path):
    write_picture(tmp_path / "images" / "1.jpg", 300, 200)
    with pytest.raises(ConfigProblem, match=r"lists no image of .*other\.jpg.*1\.jpg"):
        read_annotations(tmp_path / "images", write_coco(tmp_path, [listed("other.jpg")], []), NAMES)


def test_class_numbers_with_a_decimal_point_are_fine(tmp_path):
    write_picture(tmp_path / "images" / "1.jpg", 300, 200)
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "1.txt").write_text("1.0 0.5 0.5 0.1 0.1\n")
    ((one,),) = read_annotations(tmp_path / "images", labels, NAMES).values()
    assert one.label == 1
    for wrong in ("0.5", "2.0", "inf", "nan"):
        (labels / "1.txt").write_text(f"{wrong} 0.5 0.5 0.1 0.1\n")
        with pytest.raises(ConfigProblem, match="no class"):
            read_annotations(tmp_path / "images", labels, NAMES)


def test_byte_order_marks_of_label_files_are_skipped(tmp_path):
    write_picture(tmp_path / "images" / "1.jpg", 300, 200)
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "1.txt").write_bytes(codecs.BOM_UTF8 + b"0 0.5 0.5 0.1 0.1\n")
    (labels / "classes.txt").write_bytes(codecs.BOM_UTF8 + b"green\nred\n")
    ((one,),) = read_annotations(tmp_path / "images", labels, NAMES).values()
    assert one.label == 1
    coco = write_coco(tmp_path, [listed("1.jpg")], [(1, [3, 2, 30, 20])])
    coco.write_bytes(codecs.BOM_UTF8 + coco.read_bytes())
    assert len(read_annotations(tmp_path / "images", coco, NAMES)) == 1
