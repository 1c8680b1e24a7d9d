"""Labels from folders: each subfolder of a data set is a label, or the folder itself is the only label."""

from __future__ import annotations

from pathlib import Path

from vedette.runtime.camera import folder_search, image_files
from vedette.runtime.errors import ConfigProblem

MASK_FOLDER_NAMES = frozenset({"mask", "masks", "ground_truth"})  # folders of defect masks, not of images
GOOD_LABEL = "good"


def read_folder_layout(folder: Path) -> tuple[dict[str, list[Path]], dict[str, Path]]:
    """Returns the images by label and the folder of each label. It skips folders of masks.

    Raises:
        ConfigProblem: the folder does not exist or holds no image.
    """
    if not folder.is_dir():
        raise ConfigProblem(f"{folder}: no such folder", hint="it must hold images, in a subfolder for each label")
    subfolders = sorted(
        path for path in folder.iterdir() if path.is_dir() and path.name.lower() not in MASK_FOLDER_NAMES
    )
    images = {folder.resolve().name: image_files.filter_images(folder.iterdir())}
    folders = {folder.resolve().name: folder}
    for subfolder in subfolders:
        images.setdefault(subfolder.name, []).extend(image_files.filter_images(folder_search.find_files(subfolder)))
        folders[subfolder.name] = subfolder if folders.get(subfolder.name) is None else folder
    images = {label: paths for label, paths in images.items() if paths}
    if not images:
        hint = f"images end in {', '.join(sorted(image_files.IMAGE_SUFFIXES))}"
        raise ConfigProblem(f"{folder}: no images in it", hint=hint)
    return images, {label: folders[label] for label in images}


def lies_in_mask_folder(path: Path, folder: Path) -> bool:
    """Whether `path` lies in a folder of masks below `folder`."""
    parts = path.relative_to(folder).parts[:-1] if path.is_relative_to(folder) else ()
    return bool(MASK_FOLDER_NAMES & {part.lower() for part in parts})
