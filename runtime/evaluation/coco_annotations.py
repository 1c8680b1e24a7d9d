"""Annotated objects of images in one COCO file.

Boxes are in pixels of the picture as it is shown: with its EXIF orientation, as browsers and annotation tools show it.
Some tools write the width and height of the stored picture beside such boxes. So the file's size is compared with the
picture's own: the same shape (a scaled copy) and the turned shape are known, everything else is an error.

A `file_name` is a path below the folder of images. Where no image has that path, it may be the end of the path of one
image, or the other way round. If two images fit, the label could belong to either, which is an error.

A box without an area is what a tool leaves behind after a stray click: it is left out, and counted.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from ..camera import image_files
from ..errors import UNREADABLE, ConfigProblem
from ..progress import Log
from .annotated_object import AnnotatedObject, GroundTruth, make_box, unknown_label

FORMAT_HINT = (
    "bbox is [left, top, width, height] in pixels of the picture as it is shown, and width and height are the "
    "picture's; see docs/goal.md"
)
_SHAPE_TOLERANCE = 1.5  # pixels of the shorter side: a scaled copy has rounded sides


class _CocoImage(msgspec.Struct):
    id: int | str
    file_name: str
    width: float = 0
    height: float = 0


class _CocoCategory(msgspec.Struct):
    id: int | str
    name: str


class _CocoAnnotation(msgspec.Struct):
    image_id: int | str
    category_id: int | str
    bbox: list[float]
    iscrowd: int = 0


class _CocoFile(msgspec.Struct):
    images: list[_CocoImage]
    annotations: list[_CocoAnnotation]
    categories: list[_CocoCategory]


def read_coco(images: Path, paths: Sequence[Path], file: Path, names: Sequence[str], log: Log) -> GroundTruth:
    """The annotated objects of the images that a COCO file lists.

    Args:
        images: the folder of images
        paths: all images below it
        file: the COCO file
        names: the model's labels
        log: told of boxes that are left out

    Raises:
        ConfigProblem: the file is no COCO file, lists none of the images or one that may be either of two, or a label
            is invalid.
    """
    content = _read_file(file)
    listed = _match_images(content.images, images, paths, file)
    category_names = {each.id: each.name for each in content.categories}
    annotations: dict[Path, list[AnnotatedObject]] = {path: [] for path, _ in listed.values()}
    sizes: dict[int | str, tuple[float, float]] = {}
    empty = []
    for number, annotation in enumerate(content.annotations):
        if annotation.image_id not in listed:
            continue
        path, image = listed[annotation.image_id]
        where = f"{file}: {image.file_name}: annotations[{number}]"
        name = category_names.get(annotation.category_id, f"category {annotation.category_id}")
        if name not in names:
            raise unknown_label(f"{where}: {name!r}", names)
        box = annotation.bbox
        if not box or (len(box) == 4 and 0 in box[2:]):
            empty.append(where)
            continue
        if len(box) != 4:
            raise ConfigProblem(f"{where}: {len(box)} numbers in bbox, 4 are wanted", hint=FORMAT_HINT)
        if image.id not in sizes:
            sizes[image.id] = _label_frame(image, path, file)
        width, height = sizes[image.id]
        left, top = box[0] / width, box[1] / height
        edges = left, top, left + box[2] / width, top + box[3] / height
        annotations[path].append(
            AnnotatedObject(names.index(name), make_box(edges, where, FORMAT_HINT), bool(annotation.iscrowd))
        )
    if empty:
        log(f"left out: {len(empty)} boxes without an area, the first in {empty[0]}")
    return {path: tuple(objects) for path, objects in sorted(annotations.items())}


def read_categories(file: Path) -> tuple[str, ...]:
    """Names of the categories of a COCO file that have a box, in its order.

    Raises:
        ConfigProblem: the file is no COCO file.
    """
    content = _read_file(file)
    used = {each.category_id for each in content.annotations}
    return tuple(dict.fromkeys(each.name for each in content.categories if each.id in used))


def _read_file(file: Path) -> _CocoFile:
    try:
        return msgspec.json.decode(file.read_bytes().removeprefix(codecs.BOM_UTF8), type=_CocoFile)
    except (OSError, *UNREADABLE) as error:
        hint = "it should hold images, annotations and categories, as COCO's instances_val2017.json does"
        raise ConfigProblem(f"{file}: no COCO file: {error}", hint=hint) from None


def _match_images(
    listed: Sequence[_CocoImage], images: Path, paths: Sequence[Path], file: Path
) -> dict[int | str, tuple[Path, _CocoImage]]:
    """The image of each listed one that there is, by its id."""
    find = _image_finder(images, paths, file)
    matched: dict[int | str, tuple[Path, _CocoImage]] = {}
    names: dict[Path, str] = {}
    for each in listed:
        if (path := find(each.file_name)) is None:
            continue
        if (other := names.setdefault(path, each.file_name)) != each.file_name:
            hint = "give each its path below the folder of images as file_name"
            raise ConfigProblem(f"{file}: {other} and {each.file_name} both mean {path}", hint=hint)
        matched[each.id] = path, each
    if not matched:
        example = f": the first is {listed[0].file_name}, and an image here is {paths[0]}" if listed else ""
        raise ConfigProblem(
            f"{file}: lists no image of {images}{example}", hint="file_name is relative to the images' folder"
        )
    return matched


def _image_finder(images: Path, paths: Sequence[Path], file: Path) -> Callable[[str], Path | None]:
    by_name: Mapping[str, Path] = {path.relative_to(images).as_posix(): path for path in paths}
    by_end: dict[str, list[Path]] = {}
    for name, path in by_name.items():
        for end in _ends(name):
            by_end.setdefault(end, []).append(path)

    def find(file_name: str) -> Path | None:
        name = file_name.replace("\\", "/")
        if name in by_name:
            return by_name[name]
        fitting = by_end.get(name) or next(([by_name[end]] for end in _ends(name) if end in by_name), [])
        if len(fitting) > 1:
            hint = "write the path below the folder of images as file_name"
            some = " or ".join(map(str, fitting[:2])) + (f" or {len(fitting) - 2} others" if len(fitting) > 2 else "")
            raise ConfigProblem(f"{file}: {file_name} may be {some}", hint=hint)
        return fitting[0] if fitting else None

    return find


def _ends(name: str) -> list[str]:
    """All ends of a path, the longest first: a/b/c, b/c, c."""
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", ".")]
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _label_frame(image: _CocoImage, path: Path, file: Path) -> tuple[float, float]:
    """Width and height of the frame that the boxes of an image are in."""
    where = f"{file}: {image.file_name}"
    if image.width <= 0 or image.height <= 0:
        raise ConfigProblem(f"{where}: its size is missing", hint="width and height, in pixels")
    height, width = image_files.read_image(path).shape[:2]
    for listed in ((image.width, image.height), (image.height, image.width)):
        scale = max(listed) / max(width, height)
        tolerance = _SHAPE_TOLERANCE * max(scale, 1)
        if abs(listed[0] - scale * width) <= tolerance and abs(listed[1] - scale * height) <= tolerance:
            return listed
    hint = "correct width and height, or use the image that was annotated: boxes would lie elsewhere"
    raise ConfigProblem(
        f"{where}: {path} is {width} x {height} pixels, the file says {image.width:g} x {image.height:g}", hint=hint
    )
