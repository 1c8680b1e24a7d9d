"""Images with labels, divided so that no figure flatters.

As in dataset.py whole groups are dealt, and the parts have the same purposes; but here every part needs its share of
every class, the rare ones above all. So groups are dealt one by one, those with the rarest class first, each to the
part that lacks most of what the group holds (Sechidis et al., "On the Stratification of Multi-label Data", 2011, where
an image with several labels is what a group with several classes is here). With few and large groups the shares are
kept only roughly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vedette.runtime.bundle.manifest import UNKNOWN
from vedette.runtime.camera import image_files
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation.verify import Track

from ..goal.goal_file import Data
from . import split
from .audit.findings import Audit
from .groups import joined
from .split import SHARES, Images

_FIRST = ("fit", "test", "threshold", "calibrate")  # the order in which a class with few groups reaches the parts


class Labelled(msgspec.Struct, frozen=True):
    """Paths of images; the four lists are disjoint, and each holds every class."""

    fit: list[Path]
    calibrate: list[Path]
    threshold: list[Path]
    test: list[Path]
    classes: tuple[str, ...]
    normal: tuple[str, ...]
    """Classes of parts with nothing wrong."""
    truth: dict[Path, int]
    """Image -> its class, as an index of `classes`."""
    groups: dict[Path, str]
    """Image -> the group that it belongs to."""
    audit: dict[str, Any] = {}
    """What the audit said of them, for report.json."""

    def labels(self, paths: Sequence[Path]) -> list[int]:
        return [self.truth[path] for path in paths]


def audited(data: Data, base: Path, track: Track, say: Callable[[str], None]) -> Labelled:
    """Looks at the images that `data` names, leaves out what no build can use, and divides the rest; see dataset.py.

    Raises:
        ConfigProblem: as `divide`.
    """
    named = find(data, base)
    found, summary = split.looked_over(named, base, track, say)
    return msgspec.structs.replace(divide(data, base, named, found), audit=summary)


def find(data: Data, base: Path) -> Images:
    """The images of each class, and their groups.

    Raises:
        ConfigProblem: there are fewer than two classes, or an image has two.
    """
    folders = folders_of(data, base)
    by_label = {label: image_files.find(folder) for label, folder in folders.items()}
    label_of: dict[Path, str] = {}
    for label, paths in by_label.items():
        for path in paths:
            if path in label_of:
                hint = "folders are searched with their sub-folders: keep the classes apart"
                raise ConfigProblem(f"{path} would count as {label_of[path]} and as {label}", hint=hint)
            label_of[path] = label
    return Images.named(by_label, folders, data, base)


def divide(data: Data, base: Path, images: Images | None = None, found: Audit | None = None) -> Labelled:
    """Divides the images that `data` names; the same seed gives the same division.

    Args:
        data: what the goal file says
        base: folder of the goal file
        images: what `find` gives for them
        found: what the audit says of them; without it no image is left out and near copies may be divided

    Raises:
        ConfigProblem: there are fewer than two classes, or a class has too few images or groups, or an image has two
            classes.
    """
    images = images or find(data, base)
    folders, classes = images.folders, tuple(images.folders)
    kept = images.usable(found)
    truth = {path: number for number, label in enumerate(classes) for path in kept[label]}
    groups = joined({path: images.groups[path] for path in truth}, found.pairs() if found else [])
    for number, label in enumerate(classes):
        count = len({groups[path] for path in truth if truth[path] == number})
        if count < len(SHARES):
            what = "images" if data.group is None else "groups (data.group)"
            hint = "each of fit, calibrate, threshold and test needs one; better are tens, best hundreds"
            raise ConfigProblem(f"{folders[label]}: {count} {what}, at least {len(SHARES)} are needed", hint=hint)
    parts = deal(truth, groups, {part: SHARES[part] for part in _FIRST}, data.seed)
    for part, paths in parts.items():
        if lost := set(range(len(classes))) - {truth[path] for path in paths}:
            hint = "another data.seed may help, smaller groups (data.group) or more of them will"
            raise ConfigProblem(f"no image of {classes[min(lost)]} is left for {part!r}", hint=hint)
    normal = data.normal if data.normal is not None else tuple({"good"} & set(classes))
    if odd := set(normal) - set(classes):
        hint = f"the classes are {', '.join(classes)}"
        raise ConfigProblem(f"data.normal: no class {min(odd)!r}", hint=hint)
    fit, calibrate, threshold, test = (parts[part] for part in SHARES)
    return Labelled(fit, calibrate, threshold, test, classes, normal, truth, groups)


def deal(truth: dict[Path, int], groups: dict[Path, str], shares: dict[str, float], seed: int) -> dict[str, list[Path]]:
    """Whole groups of images, dealt to parts of about the given shares, class by class.

    Args:
        truth: image -> class
        groups: image -> group
        shares: of each part, together 1; the first has every class, the others as far as the groups go round
        seed: decides between equals
    """
    members: dict[str, list[Path]] = {}
    for path in sorted(truth):
        members.setdefault(groups[path], []).append(path)
    total = np.bincount(list(truth.values()))
    held = {name: np.bincount([truth[path] for path in paths], minlength=len(total)) for name, paths in members.items()}
    names = sorted(members)
    np.random.default_rng(seed).shuffle(names)
    names.sort(key=lambda name: (total[held[name] > 0].min(), -len(members[name])))
    parts: dict[str, list[Path]] = {part: [] for part in shares}
    filled = {part: np.zeros(len(total)) for part in shares}
    for name in names:
        lacking = [part for part in shares if (filled[part][held[name] > 0] == 0).any()]
        after = {part: (filled[part] + held[name]) / (shares[part] * total.clip(min=1)) for part in shares}
        fullness = {part: float((share * held[name]).sum()) for part, share in after.items()}
        part = lacking[0] if lacking else min(shares, key=fullness.__getitem__)
        parts[part] += members[name]
        filled[part] += held[name]
    return {part: sorted(paths) for part, paths in parts.items()}


def folders_of(data: Data, base: Path) -> dict[str, Path]:
    if data.classes is None:
        return {"good": base / data.good, "defect": base / str(data.defect)}
    folder = base / data.classes
    found = {each.name: each for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith(".")}
    if len(found) < 2:
        hint = "data.classes wants a folder with one sub-folder of images for each class"
        raise ConfigProblem(f"{folder}: {len(found)} classes, at least 2 are needed", hint=hint)
    if UNKNOWN in found:
        hint = f"{UNKNOWN!r} is the answer where no class is sure enough: rename the folder"
        raise ConfigProblem(f"{folder / UNKNOWN}: no class may be called {UNKNOWN!r}", hint=hint)
    return found
