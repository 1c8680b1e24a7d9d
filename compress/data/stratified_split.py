"""Leakage-free stratified split of labeled images.

The parts are fit, calibrate, threshold and test, and each group stays in one part, as in split.py. In addition, each
part needs its fraction of each class. This matters most for rare classes. The split assigns one group at a time,
starting with groups of the rarest class. Each group goes to the part with the largest shortage of the group's classes
(Sechidis et al., "On the Stratification of Multi-label Data", 2011; a group with several classes corresponds to an
image with several labels in the paper). If groups are few and large, the fractions are approximate.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vedette.runtime.bundle.manifest import UNKNOWN
from vedette.runtime.camera import image_files
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.progress import Log, Progress

from ..goal.goal_tables import DataSettings
from .audit.findings import AuditResult
from .groups import merge_groups
from .labeled_images import LabeledImages, audit_labeled_images
from .split import SPLIT_FRACTIONS

_FILL_ORDER = (
    "fit",
    "test",
    "threshold",
    "calibrate",
)  # order of the parts that receive the groups of a class with few groups


class StratifiedSplit(msgspec.Struct, frozen=True):
    """The images of each part of the split. The four lists are disjoint, and each holds every class."""

    fit: list[Path]
    calibrate: list[Path]
    threshold: list[Path]
    test: list[Path]
    classes: tuple[str, ...]
    normal: tuple[str, ...]
    """Classes that count as normal."""
    truth: dict[Path, int]
    """Ground truth: image -> index of its class in `classes`."""
    groups: dict[Path, str]
    """Image -> its group."""
    audit: dict[str, Any] = {}
    """Summary of the audit, for report.json."""

    def class_indices(self, paths: Sequence[Path]) -> list[int]:
        """Returns the class index of each image."""
        return [self.truth[path] for path in paths]


def audit_and_split(data: DataSettings, base: Path, progress: Progress, log: Log) -> StratifiedSplit:
    """Audits the images that `data` names, leaves out unusable ones, and splits the rest; see split.py.

    Raises:
        ConfigProblem: as `split_by_class`.
    """
    images = find_class_images(data, base)
    audit, summary = audit_labeled_images(images, base, progress, log)
    return msgspec.structs.replace(split_by_class(data, base, images, audit), audit=summary)


def find_class_images(data: DataSettings, base: Path) -> LabeledImages:
    """Finds the images of each class, and their groups.

    Raises:
        ConfigProblem: there are fewer than two classes, or an image has two classes.
    """
    folders = find_class_folders(data, base)
    by_label = {label: image_files.find_images(folder) for label, folder in folders.items()}
    label_of: dict[Path, str] = {}
    for label, paths in by_label.items():
        for path in paths:
            if path in label_of:
                hint = "folders are searched with their subfolders: keep the classes apart"
                raise ConfigProblem(f"{path} would count as {label_of[path]} and as {label}", hint=hint)
            label_of[path] = label
    return LabeledImages.from_settings(by_label, folders, data, base)


def split_by_class(
    data: DataSettings, base: Path, images: LabeledImages | None = None, audit: AuditResult | None = None
) -> StratifiedSplit:
    """Splits the images that `data` names. The seed determines the split.

    Args:
        data: the table `[data]` of the goal
        base: folder of the goal file
        images: result of `find_class_images`; None: this function calls it
        audit: result of the audit; None: all images are used, and near duplicates may be in different parts

    Raises:
        ConfigProblem: there are fewer than two classes, or a class has too few images or groups, or an image has two
            classes.
    """
    images = images or find_class_images(data, base)
    folders, classes = images.folders, tuple(images.folders)
    usable = images.usable_images(audit)
    truth = {path: number for number, label in enumerate(classes) for path in usable[label]}
    groups = merge_groups({path: images.groups[path] for path in truth}, audit.duplicate_pairs() if audit else [])
    for number, label in enumerate(classes):
        count = len({groups[path] for path in truth if truth[path] == number})
        if count < len(SPLIT_FRACTIONS):
            what = "images" if data.group is None else "groups (data.group)"
            hint = "each of fit, calibrate, threshold and test needs one; tens are better, hundreds best"
            raise ConfigProblem(
                f"{folders[label]}: {count} {what}, at least {len(SPLIT_FRACTIONS)} are needed", hint=hint
            )
    parts = distribute_groups(truth, groups, {part: SPLIT_FRACTIONS[part] for part in _FILL_ORDER}, data.seed)
    for part, paths in parts.items():
        if missing := set(range(len(classes))) - {truth[path] for path in paths}:
            hint = "another data.seed may help; smaller groups (data.group) or more of them will help"
            raise ConfigProblem(f"no image of {classes[min(missing)]} is left for {part!r}", hint=hint)
    normal = data.normal if data.normal is not None else tuple({"good"} & set(classes))
    if unknown := set(normal) - set(classes):
        hint = f"the classes are {', '.join(classes)}"
        raise ConfigProblem(f"data.normal: no class {min(unknown)!r}", hint=hint)
    fit, calibrate, threshold, test = (parts[part] for part in SPLIT_FRACTIONS)
    return StratifiedSplit(fit, calibrate, threshold, test, classes, normal, truth, groups)


def distribute_groups(
    truth: dict[Path, int], groups: dict[Path, str], fractions: dict[str, float], seed: int
) -> dict[str, list[Path]]:
    """Assigns whole groups of images to parts. Each part gets about its fraction of each class.

    Args:
        truth: image -> index of its class
        groups: image -> group
        fractions: fraction of each part, sum 1; the first part gets every class, the other parts if groups suffice
        seed: seed of the random order
    """
    members: dict[str, list[Path]] = {}
    for path in sorted(truth):
        members.setdefault(groups[path], []).append(path)
    total = np.bincount(list(truth.values()))
    counts = {
        name: np.bincount([truth[path] for path in paths], minlength=len(total)) for name, paths in members.items()
    }
    names = sorted(members)
    np.random.default_rng(seed).shuffle(names)
    names.sort(key=lambda name: (total[counts[name] > 0].min(), -len(members[name])))
    parts: dict[str, list[Path]] = {part: [] for part in fractions}
    filled = {part: np.zeros(len(total)) for part in fractions}
    for name in names:
        lacking = [part for part in fractions if (filled[part][counts[name] > 0] == 0).any()]
        after = {part: (filled[part] + counts[name]) / (fractions[part] * total.clip(min=1)) for part in fractions}
        fullness = {part: float((filling * counts[name]).sum()) for part, filling in after.items()}
        part = lacking[0] if lacking else min(fractions, key=fullness.__getitem__)
        parts[part] += members[name]
        filled[part] += counts[name]
    return {part: sorted(paths) for part, paths in parts.items()}


def find_class_folders(data: DataSettings, base: Path) -> dict[str, Path]:
    """Finds the folder of each class.

    Raises:
        ConfigProblem: there are fewer than two classes, or one has the reserved name of the reject option.
    """
    if data.classes is None:
        return {"good": base / data.good, "defect": base / str(data.defect)}
    folder = base / data.classes
    subfolders = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    folders = {path.name: path for path in subfolders}
    if len(folders) < 2:
        hint = "data.classes must be a folder with one subfolder of images for each class"
        raise ConfigProblem(f"{folder}: {len(folders)} classes, at least 2 are needed", hint=hint)
    if UNKNOWN in folders:
        hint = f"{UNKNOWN!r} is the answer if no class is confident enough: rename the folder"
        raise ConfigProblem(f"{folder / UNKNOWN}: no class may be called {UNKNOWN!r}", hint=hint)
    return folders
