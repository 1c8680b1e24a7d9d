"""Images by label: the files that a goal names, with their labels and groups.

good, defect   the folders of `data.good` and `data.defect`
known          the folder of `data.known`, without its folders of masks
test           the folder of `data.test`, whose images are fixed as test images
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from vedette.runtime.camera import image_files
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.progress import Log, Progress

from ..goal.goal_tables import DataSettings
from . import groups, kept_images_csv
from .audit import audit_images
from .audit.findings import AuditResult
from .audit.labels_from_folders import lies_in_mask_folder

KNOWN = "known"


class LabeledImages(msgspec.Struct, frozen=True):
    """The images that a goal file names, by label, with their groups."""

    by_label: dict[str, list[Path]]
    folders: dict[str, Path]
    groups: dict[Path, str]
    test: frozenset[Path] = frozenset()
    """Good images that the goal fixes as test images."""
    searched: tuple[Path, ...] = ()
    """Folders that were searched beside `folders`."""

    @classmethod
    def from_settings(
        cls, by_label: dict[str, list[Path]], folders: dict[str, Path], data: DataSettings, base: Path
    ) -> LabeledImages:
        """Restricts images to the keep list `data.list`, if there is one, and assigns their groups.

        Args:
            by_label: images by label
            folders: folder of each label
            data: the table `[data]` of the goal
            base: folder of the goal file

        Raises:
            ConfigProblem: the list or the groups cannot be read.
        """
        groups_in_list: dict[Path, str] = {}
        if data.list is not None:
            by_label, groups_in_list = kept_images_csv.restrict_to_keep_list(by_label, base / data.list)
        assigned = groups.assign_groups(by_label, folders, data.group, base)
        return cls(by_label, folders, assigned | groups_in_list if data.group is None else assigned)

    def usable_images(self, audit: AuditResult | None) -> dict[str, list[Path]]:
        """Returns the images by label, without those that the audit excludes."""
        left_out = set(audit.left_out) if audit else set()
        return {label: [path for path in paths if path not in left_out] for label, paths in self.by_label.items()}

    def merge_known_into_defects(self) -> LabeledImages:
        """Returns the images with the known defects under the label `defect`: an audit compares good with defective."""
        if KNOWN not in self.by_label:
            return self
        by_label = {label: paths for label, paths in self.by_label.items() if label != KNOWN}
        by_label["defect"] = [*by_label.get("defect", []), *self.by_label[KNOWN]]
        folders = {"defect": self.folders[KNOWN]} | {
            label: folder for label, folder in self.folders.items() if label != KNOWN
        }
        return msgspec.structs.replace(self, by_label=by_label, folders=folders)


def find_images(data: DataSettings, base: Path) -> LabeledImages:
    """Finds the good and defective images and the known defects that `data` names, and their groups.

    Raises:
        ConfigProblem: a folder is missing or empty, a list cannot be read, or an image has two labels.
    """
    folders = {label: base / name for label, name in (("good", data.good), ("defect", data.defect)) if name is not None}
    images = {label: image_files.find_images(folder) for label, folder in folders.items()}
    masks = image_files.find_images(base / data.mask) if data.mask is not None else []
    if shared := set(images["good"]) & {*images.get("defect", []), *masks}:
        hint = "data.good is searched with its subfolders: keep good and defective images apart"
        raise ConfigProblem(f"{min(shared)} would count as good and as defective", hint=hint)
    if data.known is not None:
        images[KNOWN], folders[KNOWN] = _find_known_defects(base / data.known), base / data.known
        if shared := set(images[KNOWN]) & {*images["good"], *images.get("defect", []), *masks}:
            hint = "folders are searched with their subfolders: keep known defects apart from all other images"
            raise ConfigProblem(f"{min(shared)} would be in data.known and in another folder", hint=hint)
    found = LabeledImages.from_settings(images, folders, data, base)
    return found if data.test is None else _add_test_images(found, data, base / data.test)


def _find_known_defects(folder: Path) -> list[Path]:
    """The images below a folder that lie in no folder of masks."""
    found = [path for path in image_files.find_images(folder) if not lies_in_mask_folder(path, folder)]
    if not found:
        raise ConfigProblem(f"{folder}: no images of defects in it", hint="there are only masks")
    return found


def _add_test_images(images: LabeledImages, data: DataSettings, folder: Path) -> LabeledImages:
    """Adds the images of `data.test`. A file of groups may leave them out; each is then a group by itself."""
    subfolders = {label: folder / label for label in ("good", "defect") if (folder / label).is_dir()}
    added = {label: image_files.find_images(subfolder) for label, subfolder in subfolders.items()}
    for label in ("good", KNOWN):
        if shared := {*images.by_label.get(label, [])} & {*added["good"], *added.get("defect", [])}:
            hint = f"data.{label} is searched with its subfolders: keep the test images apart"
            raise ConfigProblem(f"{min(shared)} would be in data.{label} and in data.test", hint=hint)
    named = {f"test/{label}": paths for label, paths in added.items()}
    rule = None if (data.group or "").lower().endswith(".csv") else data.group
    groups_of_test = groups.assign_groups(
        named, {f"test/{label}": subfolder for label, subfolder in subfolders.items()}, rule, folder
    )
    return LabeledImages(
        by_label=images.by_label | {label: [*images.by_label.get(label, []), *paths] for label, paths in added.items()},
        folders=images.folders | {label: subfolders[label] for label in added if label not in images.folders},
        groups=images.groups | groups_of_test,
        test=frozenset(added["good"]),
        searched=tuple(subfolders.values()),
    )


def audit_labeled_images(
    images: LabeledImages, base: Path, progress: Progress, log: Log
) -> tuple[AuditResult, dict[str, Any]]:
    """Audits images and logs the findings. It returns the result and its summary for report.json."""
    folders = [*images.folders.values(), *images.searched]
    images = images.merge_known_into_defects()
    count = sum(map(len, images.by_label.values()))
    log(f"auditing {count} images")
    audit = audit_images(images.by_label, images.folders, images.groups, base, progress)
    audit = audit.with_skipped_files(folders)
    for note in audit.notes:
        log(note)
    for path, finding in audit.left_out.items():
        log(f"left out: {audit.relative_name(path)}: {finding.why}")
    if others := audit.count_by_kind(breaking=False):
        text = ", ".join(f"{number} {kind}" for kind, number in others.items())
        log(f"please check (vedette audit shows them): {text}")
    suspects = [audit.relative_name(path) for path in audit.suspects]
    if suspects:
        log(f"please check: {len(suspects)} images in good look defective: {', '.join(suspects)}")
    return audit, {
        "images": count,
        "counts": audit.count_by_kind(),
        "left_out": [
            audit.finding_to_dict(finding) | {"file": audit.relative_name(path)}
            for path, finding in audit.left_out.items()
        ],
        "suspects": suspects,
        "unchecked": list(audit.unchecked),
        "notes": list(audit.notes),
        "skipped": [audit.relative_name(path) for path in audit.skipped],
    }
