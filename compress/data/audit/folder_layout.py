"""A folder of images as people lay it out: each sub-folder is a label, or there is one label and no sub-folder."""

from __future__ import annotations

from pathlib import Path

from vedette.runtime.camera import image_files
from vedette.runtime.errors import ConfigProblem

MASKS = frozenset({"mask", "masks", "ground_truth"})  # pixel truth, not images of the product
GOOD = "good"


def read(folder: Path) -> tuple[dict[str, list[Path]], dict[str, Path]]:
    """The images by label, and the folder of each label. Sub-folders of a label are searched; folders of masks are not.

    Raises:
        ConfigProblem: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ConfigProblem(f"{folder}: no such folder", hint="it should hold images, in a sub-folder for each label")
    below = sorted(each for each in folder.iterdir() if each.is_dir() and each.name.lower() not in MASKS)
    images = {folder.resolve().name: image_files.among(folder.iterdir())}
    places = {folder.resolve().name: folder}
    for each in below:
        images.setdefault(each.name, []).extend(image_files.among(each.rglob("*")))
        places[each.name] = each if places.get(each.name) is None else folder
    images = {label: paths for label, paths in images.items() if paths}
    if not images:
        hint = f"images end in {', '.join(sorted(image_files.SUFFIXES))}"
        raise ConfigProblem(f"{folder}: no images in it", hint=hint)
    return images, {label: places[label] for label in images}
