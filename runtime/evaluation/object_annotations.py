"""Where the objects in some images are, as people have marked them: YOLO's text files, or one COCO file.

YOLO    for each image a file of the same path with the ending `.txt`, below a folder of labels; a line holds the number
        of the class, and the box's centre and size, or the corners of an outline, as fractions. An image
        without a file has no objects. `classes.txt`, where the folder holds one, names the classes; without it a
        number is the place of the model's label.
COCO    one `.json`; its categories are found by their names among the model's labels. Images that it does not
        list are left out.
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

_CLASSES = "classes.txt"
_SLACK = 0.01  # of a frame: what drawing programs let boxes reach beyond it
_HINT = "a line is: class x y width height, the last four between 0 and 1; see docs/goal.md"


class Object(NamedTuple):
    """One that was marked."""

    label: int
    """Place among the model's labels."""
    box: Box
    crowd: bool = False
    """A heap of several: finding it counts neither for nor against."""


GroundTruth = dict[Path, tuple[Object, ...]]
"""Image -> what it shows."""


def read(images: Path, labels: Path, names: Sequence[str]) -> GroundTruth:
    """The objects in every image below `images` that the labels speak of.

    Args:
        images: a folder
        labels: a folder of YOLO files or with one COCO file in it, or a COCO file
        names: the model's labels

    Raises:
        ConfigProblem: either is missing, nothing in one belongs to the other, or a label cannot be what it says.
    """
    paths = image_files.find(images)
    listed = [labels] if labels.is_file() else sorted(labels.glob("*.json")) if labels.is_dir() else []
    if not labels.exists():
        raise ConfigProblem(f"{labels}: no such folder or file", hint="it should hold labels, as YOLO or COCO has them")
    if len(listed) > 1:
        raise ConfigProblem(f"{labels}: {len(listed)} COCO files in it", hint="name the one that is meant")
    return _coco(images, paths, listed[0], names) if listed else _yolo(images, paths, labels, names)


def _yolo(images: Path, paths: list[Path], folder: Path, names: Sequence[str]) -> GroundTruth:
    places = _places(folder / _CLASSES, names)
    found, files = {}, 0
    for path in paths:
        file = folder / path.relative_to(images).with_suffix(".txt")
        lines = _lines(file) if file.is_file() else []
        files += file.is_file()
        found[path] = tuple(
            _parsed(line, places, f"{file}:{number}") for number, line in enumerate(lines, 1) if line.strip()
        )
    if not files:
        hint = f"{images / 'a' / 'b.jpg'} is described by {folder / 'a' / 'b.txt'}"
        raise ConfigProblem(f"{folder}: no label file belongs to an image in {images}", hint=hint)
    return found


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigProblem(f"{file}: cannot be read as text: {error}", hint=_HINT) from None


def _places(file: Path, names: Sequence[str]) -> list[int]:
    """Class number of the files -> place of the label."""
    if not file.is_file():
        return list(range(len(names)))
    given = [line.strip() for line in _lines(file) if line.strip()]
    for name in given:
        if name not in names:
            raise _unknown(f"{file}: {name!r}", names)
    return [names.index(name) for name in given]


def _parsed(line: str, places: list[int], where: str) -> Object:
    words = line.split()
    try:
        number, values = int(words[0]), np.array([float(word) for word in words[1:]])
    except ValueError:
        raise ConfigProblem(f"{where}: {line[:60]!r} is no row of numbers", hint=_HINT) from None
    outline = len(values) >= 6 and len(values) % 2 == 0
    if len(values) != 4 and not outline:
        raise ConfigProblem(f"{where}: {len(words)} numbers, 5 are wanted", hint=_HINT)
    if not 0 <= number < len(places):
        hint = f"the model has {len(places)} classes, numbered from 0; names belong into {_CLASSES} beside the labels"
        raise ConfigProblem(f"{where}: no class {number}", hint=hint)
    if outline:
        points = values.reshape(-1, 2)
        low, high = points.min(axis=0), points.max(axis=0)
    else:
        low, high = values[:2] - values[2:] / 2, values[:2] + values[2:] / 2
    return Object(places[number], _box((*low, *high), where))


def _box(edges: Sequence[float], where: str) -> Box:
    left, top, right, bottom = (float(edge) for edge in edges)
    inside = all(-_SLACK <= edge <= 1 + _SLACK for edge in (left, top, right, bottom))  # no NaN passes
    if not inside or left >= right or top >= bottom:
        text = f"from {left:.4g}, {top:.4g} to {right:.4g}, {bottom:.4g}"
        raise ConfigProblem(f"{where}: no box within the image: {text}, as fractions of it", hint=_HINT)
    return Box(*(min(max(edge, 0.0), 1.0) for edge in (left, top, right, bottom)))


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: float
    height: float


class _Category(msgspec.Struct):
    id: int
    name: str


class _Mark(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Mark]
    categories: list[_Category]


def _coco(images: Path, paths: list[Path], file: Path, names: Sequence[str]) -> GroundTruth:
    try:
        content = msgspec.json.decode(file.read_bytes(), type=_File)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        hint = "it should hold images, annotations and categories, as COCO's instances_val2017.json does"
        raise ConfigProblem(f"{file}: no COCO file: {error}", hint=hint) from None
    by_name = {path.relative_to(images).as_posix(): path for path in paths} | {path.name: path for path in paths}
    known = {each.id: (by_name[each.file_name], each) for each in content.images if each.file_name in by_name}
    if not known:
        raise ConfigProblem(f"{file}: lists no image of {images}", hint="file_name is relative to the images' folder")
    called = {each.id: each.name for each in content.categories}
    found: dict[Path, list[Object]] = {path: [] for path, _ in known.values()}
    for number, mark in enumerate(content.annotations):
        if mark.image_id not in known:
            continue
        where = f"{file}: annotations[{number}]"
        name = called.get(mark.category_id, f"category {mark.category_id}")
        if name not in names:
            raise _unknown(f"{where}: {name!r}", names)
        path, image = known[mark.image_id]
        left, top, width, height = mark.bbox
        if image.width <= 0 or image.height <= 0:
            raise ConfigProblem(f"{file}: {image.file_name}: its size is not told", hint="width and height, in pixels")
        edges = left / image.width, top / image.height, (left + width) / image.width, (top + height) / image.height
        found[path].append(Object(names.index(name), _box(edges, where), bool(mark.iscrowd)))
    return {path: tuple(objects) for path, objects in sorted(found.items())}


def _unknown(what: str, names: Sequence[str]) -> ConfigProblem:
    some = ", ".join(names[:10]) + (f" and {len(names) - 10} others" if len(names) > 10 else "")
    return ConfigProblem(f"{what} is not among the model's labels", hint=f"they are {some}; model.labels names others")
