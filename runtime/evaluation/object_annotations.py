"""Annotated objects of images, in YOLO's text files or in one COCO file.

YOLO    each image has a text file of the same relative path with the suffix `.txt`, below a folder of labels. A line
        holds the class number, and the box's center and size, or the corners of an outline, as fractions. An image
        without a file has no objects. `classes.txt`, if the folder holds one, names the classes; without it a number
        is the index of the model's label.
COCO    one `.json`; its categories are matched with the model's labels by name. Images that it does not list are
        left out (coco_annotations.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..camera import image_files
from ..errors import ConfigProblem
from ..progress import Log, no_log
from .annotated_object import AnnotatedObject, GroundTruth, make_box, unknown_label
from .coco_annotations import read_categories, read_coco

_CLASSES_FILE = "classes.txt"
_FORMAT_HINT = "a line is: class x y width height, the last four between 0 and 1; see docs/goal.md"


def read_annotations(images: Path, labels: Path, names: Sequence[str], log: Log = no_log) -> GroundTruth:
    """The annotated objects of the images below `images`.

    Args:
        images: a folder
        labels: a folder of YOLO files, a folder with one COCO file in it, or a COCO file
        names: the model's labels
        log: told of boxes that are left out

    Raises:
        ConfigProblem: a folder is missing, images and labels do not match, or a label is invalid.
    """
    paths = image_files.find_images(images)
    listed = _find_coco_files(labels)
    return read_coco(images, paths, listed[0], names, log) if listed else _read_yolo(images, paths, labels, names)


def read_class_names(labels: Path) -> tuple[str, ...]:
    """Names of the classes of some labels: the categories of a COCO file that have a box, or `classes.txt`.

    Empty: YOLO files without names.

    Raises:
        ConfigProblem: the labels are missing or cannot be read.
    """
    if listed := _find_coco_files(labels):
        return read_categories(listed[0])
    file = labels / _CLASSES_FILE
    names = [line.strip() for line in _read_lines(file)] if file.is_file() else []
    return tuple(dict.fromkeys(name for name in names if name))


def _find_coco_files(labels: Path) -> list[Path]:
    """The COCO file that `labels` is or holds; empty for YOLO files."""
    if not labels.exists():
        hint = "it should hold labels in YOLO's or COCO's format"
        raise ConfigProblem(f"{labels}: no such folder or file", hint=hint)
    listed = [labels] if labels.is_file() else sorted(labels.glob("*.json"))
    if len(listed) > 1:
        raise ConfigProblem(f"{labels}: {len(listed)} COCO files in it", hint="name one of them")
    return listed


def _read_yolo(images: Path, paths: list[Path], folder: Path, names: Sequence[str]) -> GroundTruth:
    places = _read_class_indices(folder / _CLASSES_FILE, names)
    annotations, file_count = {}, 0
    for path in paths:
        file = folder / path.relative_to(images).with_suffix(".txt")
        lines = _read_lines(file) if file.is_file() else []
        file_count += file.is_file()
        annotations[path] = tuple(
            _parse_line(line, places, f"{file}:{number}") for number, line in enumerate(lines, 1) if line.strip()
        )
    if not file_count:
        hint = f"{images / 'a' / 'b.jpg'} is described by {folder / 'a' / 'b.txt'}"
        raise ConfigProblem(f"{folder}: no label file belongs to an image in {images}", hint=hint)
    return annotations


def _read_lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigProblem(f"{file}: cannot be read as text: {error}", hint=_FORMAT_HINT) from None


def _read_class_indices(file: Path, names: Sequence[str]) -> list[int]:
    """For each class number of the files, the index of the model's label."""
    if not file.is_file():
        return list(range(len(names)))
    given = [line.strip() for line in _read_lines(file) if line.strip()]
    for name in given:
        if name not in names:
            raise unknown_label(f"{file}: {name!r}", names)
    return [names.index(name) for name in given]


def _parse_line(line: str, class_indices: list[int], location: str) -> AnnotatedObject:
    words = line.split()
    try:
        number, values = float(words[0]), np.array([float(word) for word in words[1:]])
    except ValueError:
        raise ConfigProblem(f"{location}: {line[:60]!r} is not a row of numbers", hint=_FORMAT_HINT) from None
    outline = len(values) >= 6 and len(values) % 2 == 0
    if len(values) != 4 and not outline:
        raise ConfigProblem(f"{location}: {len(words)} numbers, 5 are wanted", hint=_FORMAT_HINT)
    if not number.is_integer() or not 0 <= number < len(class_indices):
        hint = f"the model has {len(class_indices)} classes, numbered from 0; put names into {_CLASSES_FILE}"
        raise ConfigProblem(f"{location}: no class {number:g}", hint=hint)
    if outline:
        points = values.reshape(-1, 2)
        low, high = points.min(axis=0), points.max(axis=0)
    else:
        low, high = values[:2] - values[2:] / 2, values[:2] + values[2:] / 2
    return AnnotatedObject(class_indices[int(number)], make_box((*low, *high), location, _FORMAT_HINT))
