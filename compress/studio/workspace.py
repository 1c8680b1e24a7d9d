"""The folder that the page works in: where images, masks, goal and builds lie, and which names lead there."""

from __future__ import annotations

from pathlib import Path

import msgspec

from vedette.runtime.camera import folder_search, image_files
from vedette.runtime.errors import ConfigProblem

from ..data.audit.labels_from_folders import lies_in_mask_folder

GOOD, DEFECT, KNOWN = "good", "defect", "known"
LABELS = (GOOD, DEFECT, KNOWN)
MASKS = "masks"


class Workspace(msgspec.Struct, frozen=True):
    """A folder of images and what is made of them."""

    folder: Path

    @property
    def goal_file(self) -> Path:
        """The goal of the builds."""
        return self.folder / "goal.toml"

    @property
    def keep_file(self) -> Path:
        """The keep list; absent: all images are kept."""
        return self.folder / "keep.csv"

    @property
    def audit_file(self) -> Path:
        """The result of the last audit, as `vedette audit --json` printed it."""
        return self.folder / "audit.json"

    @property
    def builds_folder(self) -> Path:
        """One folder for each build."""
        return self.folder / "builds"

    def images(self, label: str) -> list[Path]:
        """The images of a label, sorted; none if there is no such folder."""
        folder = self.folder / label
        if not folder.is_dir():
            return []
        found = image_files.filter_images(folder_search.find_files(folder))
        return [path for path in found if not lies_in_mask_folder(path, folder)]

    def all_images(self) -> dict[str, list[Path]]:
        """The images of each label that has any; good and defective ones always."""
        images = {label: self.images(label) for label in LABELS}
        return {label: paths for label, paths in images.items() if paths or label != KNOWN}

    def name_of(self, path: Path) -> str:
        """The name of an image: its path below the folder, as the audit and the keep list have it."""
        return path.relative_to(self.folder).as_posix()

    def find_image(self, name: str) -> Path | None:
        """The image of a name; None: no label has it. It is looked for among those that are there."""
        label = name.partition("/")[0]
        if label not in LABELS:
            return None
        return next((path for path in self.images(label) if self.name_of(path) == name), None)

    def mask_of(self, image: Path) -> Path:
        """Where the mask of a defective image lies."""
        return self.folder / MASKS / f"{image.stem}.png"


def open_workspace(folder: Path) -> Workspace:
    """The folder as a workspace; it is created if it is missing.

    Raises:
        ConfigProblem: it is no folder, or cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigProblem(f"{folder}: {error.strerror}", hint="name a folder that you may write to") from None
    return Workspace(folder.resolve())
