"""Annotated objects of images, in YOLO's text files or in one COCO file.

YOLO    each image has a text file of the same relative path with the suffix `.txt`, below a folder of labels. A line
        holds the class number, and the box's center and size, or the corners of an outline, as fractions. An image
        without a file has no objects. `classes.txt`, if the folder holds one, names the classes; without it a number
        is the index of the model's label.
COCO    one `.json`; its categories are matched with the model's labels by name. Images that it does not list are
        left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from ..camera import image_files
from ..errors import ConfigProblem
from ..inference.prediction import Box

_CLASSES_FILE = "classes.txt"
_TOLERANCE = 0.01  # fraction of the frame by which annotation tools let boxes exceed it
_FORMAT_HINT = "a line is: class x y width height, the last four between 0 and 1; see docs/goal.md"


class AnnotatedObject(NamedTuple):
    """An object that a person marked in an image."""

    label: int
    """Index of the model's label."""
    box: Box
    crowd: bool = False
    """True for a group of objects: a detection in it counts neither as right nor as wrong."""


GroundTruth = dict[Path, tuple[AnnotatedObject, ...]]
"""Image -> its annotated objects."""


def read_annotations(images: Path, labels: Path, names: Sequence[str]) -> GroundTruth:
    """The annotated objects of the images below `images`.

    Args:
        images: a folder
        labels: a folder of YOLO files, a folder with one COCO file in it, or a COCO file
        names: the model's labels

    Raises:
        ConfigProblem: a folder is missing, images and labels do not match, or a label is invalid.
    """
    paths = image_files.find_images(images)
    listed = [labels] if labels.is_file() else sorted(labels.glob("*.json")) if labels.is_dir() else []
    if not labels.exists():
        raise ConfigProblem(
            f"{labels}: no such folder or file", hint="it should hold labels in YOLO's or COCO's format"
        )
    if len(listed) > 1:
        raise ConfigProblem(f"{labels}: {len(listed)} COCO files in it", hint="name one of them")
    return _read_coco(images, paths, listed[0], names) if listed else _read_yolo(images, paths, labels, names)


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
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigProblem(f"{file}: cannot be read as text: {error}", hint=_FORMAT_HINT) from None


def _read_class_indices(file: Path, names: Sequence[str]) -> list[int]:
    """For each class number of the files, the index of the model's label."""
    if not file.is_file():
        return list(range(len(names)))
    given = [line.strip() for line in _read_lines(file) if line.strip()]
    for name in given:
        if name not in names:
            raise _unknown_label(f"{file}: {name!r}", names)
    return [names.index(name) for name in given]


def _parse_line(line: str, class_indices: list[int], location: str) -> AnnotatedObject:
    words = line.split()
    try:
        number, values = int(words[0]), np.array([float(word) for word in words[1:]])
    except ValueError:
        raise ConfigProblem(f"{location}: {line[:60]!r} is not a row of numbers", hint=_FORMAT_HINT) from None
    outline = len(values) >= 6 and len(values) % 2 == 0
    if len(values) != 4 and not outline:
        raise ConfigProblem(f"{location}: {len(words)} numbers, 5 are wanted", hint=_FORMAT_HINT)
    if not 0 <= number < len(class_indices):
        hint = f"the model has {len(class_indices)} classes, numbered from 0; put names into {_CLASSES_FILE}"
        raise ConfigProblem(f"{location}: no class {number}", hint=hint)
    if outline:
        points = values.reshape(-1, 2)
        low, high = points.min(axis=0), points.max(axis=0)
    else:
        low, high = values[:2] - values[2:] / 2, values[:2] + values[2:] / 2
    return AnnotatedObject(class_indices[number], _make_box((*low, *high), location))


def _make_box(edges: Sequence[float], location: str) -> Box:
    left, top, right, bottom = (float(edge) for edge in edges)
    inside = all(-_TOLERANCE <= edge <= 1 + _TOLERANCE for edge in (left, top, right, bottom))  # false for NaN
    if not inside or left >= right or top >= bottom:
        text = f"from {left:.4g}, {top:.4g} to {right:.4g}, {bottom:.4g}"
        raise ConfigProblem(f"{location}: box outside the image: {text}, in fractions", hint=_FORMAT_HINT)
    return Box(*(min(max(edge, 0.0), 1.0) for edge in (left, top, right, bottom)))


class _CocoImage(msgspec.Struct):
    id: int
    file_name: str
    width: float
    height: float


class _CocoCategory(msgspec.Struct):
    id: int
    name: str


class _CocoAnnotation(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _CocoFile(msgspec.Struct):
    images: list[_CocoImage]
    annotations: list[_CocoAnnotation]
    categories: list[_CocoCategory]


def _read_coco(images: Path, paths: list[Path], file: Path, names: Sequence[str]) -> GroundTruth:
    try:
        content = msgspec.json.decode(file.read_bytes(), type=_CocoFile)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        hint = "it should hold images, annotations and categories, as COCO's instances_val2017.json does"
        raise ConfigProblem(f"{file}: no COCO file: {error}", hint=hint) from None
    by_name = {path.relative_to(images).as_posix(): path for path in paths} | {path.name: path for path in paths}
    listed = {each.id: (by_name[each.file_name], each) for each in content.images if each.file_name in by_name}
    if not listed:
        raise ConfigProblem(f"{file}: lists no image of {images}", hint="file_name is relative to the images' folder")
    category_names = {each.id: each.name for each in content.categories}
    annotations: dict[Path, list[AnnotatedObject]] = {path: [] for path, _ in listed.values()}
    for number, annotation in enumerate(content.annotations):
        if annotation.image_id not in listed:
            continue
        where = f"{file}: annotations[{number}]"
        name = category_names.get(annotation.category_id, f"category {annotation.category_id}")
        if name not in names:
            raise _unknown_label(f"{where}: {name!r}", names)
        path, image = listed[annotation.image_id]
        left, top, width, height = annotation.bbox
        if image.width <= 0 or image.height <= 0:
            raise ConfigProblem(f"{file}: {image.file_name}: its size is missing", hint="width and height, in pixels")
        edges = left / image.width, top / image.height, (left + width) / image.width, (top + height) / image.height
        annotations[path].append(AnnotatedObject(names.index(name), _make_box(edges, where), bool(annotation.iscrowd)))
    return {path: tuple(objects) for path, objects in sorted(annotations.items())}


def _unknown_label(location: str, names: Sequence[str]) -> ConfigProblem:
    some = ", ".join(names[:10]) + (f" and {len(names) - 10} others" if len(names) > 10 else "")
    return ConfigProblem(
        f"{location} is not among the model's labels", hint=f"they are {some}; model.labels names others"
    )
