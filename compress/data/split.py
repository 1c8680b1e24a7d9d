"""Leakage-free split of the images of an anomaly goal.

    fit         good images that the anomaly model is fitted to
    calibrate   good images that determine the quantization ranges
    threshold   good images that determine the decision threshold
    test        held-out good images, and all defective images; the folder `data.test`, if the goal names one

Images of one group (one part, one shift, one module) resemble each other more than they resemble future images. Near
duplicates do so even more. A group in two parts of the split is leakage, so each group stays in one part. A good image
that is a near duplicate of a defective image may be in the test part. If its group belongs to another part, the image
is set aside, unless the two differ in a small place only: that is a small defect, and the good image is a good part. If
the goal fixes the test images, all other images of their groups are set aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import ModelInput
from vedette.runtime.camera import image_files
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.inference.preprocess import Preprocess
from vedette.runtime.progress import Log, Progress, no_log, no_progress

from ..goal.goal_tables import DataSettings
from . import groups
from .audit import audit_images
from .audit.findings import AuditResult
from .audit.near_duplicates import differs_locally
from .audit.sample_size import SampleSize
from .labeled_images import LabeledImages, find_images

SPLIT_FRACTIONS = {"fit": 0.5, "calibrate": 0.1, "threshold": 0.15, "test": 0.25}
_MIN_GOOD_IMAGES = 10


class Split(msgspec.Struct, frozen=True):
    """The images of each part of the split. The four lists of good images are disjoint."""

    fit: list[Path]
    calibrate: list[Path]
    threshold: list[Path]
    test: list[Path]
    defect: list[Path]
    masks: dict[Path, Path]
    """Defective image -> its mask, if it has one."""
    groups: dict[Path, str] = {}
    """Good image -> its group. An ungrouped image is a group by itself."""
    set_aside: list[Path] = []
    """Good images of no part: near duplicates of defective images, or of the group of a fixed test image."""
    audit: dict[str, Any] = {}
    """Summary of the audit, for report.json."""


def audit_and_split(
    data: DataSettings,
    base: Path,
    progress: Progress = no_progress,
    log: Log = no_log,
) -> Split:
    """Audits the images that `data` names, leaves out unusable ones, and splits the rest.

    Args:
        data: the table `[data]` of the goal
        base: folder of the goal file
        progress: shows the progress of the loop over the images
        log: receives one line per finding

    Raises:
        ConfigProblem: as `split_images`.
    """
    images = find_images(data, base)
    audit, summary = audit_labeled_images(images, base, progress, log)
    split = split_images(data, base, images, audit)
    log(str(SampleSize(len(split.threshold), len(split.test), len(split.defect))))
    if split.set_aside:
        log(f"set aside: {len(split.set_aside)} good images: near copies of defective or of fixed test images")
    summary["set_aside"] = [audit.relative_name(path) for path in split.set_aside]
    return msgspec.structs.replace(split, audit=summary)


def audit_labeled_images(
    images: LabeledImages, base: Path, progress: Progress, log: Log
) -> tuple[AuditResult, dict[str, Any]]:
    """Audits images and logs the findings. It returns the result and its summary for report.json."""
    count = sum(map(len, images.by_label.values()))
    log(f"auditing {count} images")
    audit = audit_images(images.by_label, images.folders, images.groups, base, progress)
    for path, finding in audit.left_out.items():
        log(f"left out: {audit.relative_name(path)}: {finding.why}")
    if others := audit.count_by_kind(breaking=False):
        text = ", ".join(f"{number} {kind}" for kind, number in others.items())
        log(f"please check (vedette audit shows them): {text}")
    return audit, {
        "images": count,
        "counts": audit.count_by_kind(),
        "left_out": [
            audit.finding_to_dict(finding) | {"file": audit.relative_name(path)}
            for path, finding in audit.left_out.items()
        ],
        "unchecked": list(audit.unchecked),
    }


def split_images(
    data: DataSettings, base: Path, images: LabeledImages | None = None, audit: AuditResult | None = None
) -> Split:
    """Splits the images that `data` names. The seed determines the split.

    Args:
        data: the table `[data]` of the goal
        base: folder of the goal file
        images: result of `find_images`; None: this function calls it
        audit: result of the audit; None: all images are used, and near duplicates may be in different parts

    Raises:
        ConfigProblem: a folder is missing or empty, or there are too few good images or groups.
    """
    images = images or find_images(data, base)
    by_label = images.usable_images(audit)
    good, defect = by_label["good"], by_label.get("defect", [])
    if len(good) < _MIN_GOOD_IMAGES:
        hint = "an anomaly model needs tens, better hundreds, of good images"
        raise ConfigProblem(
            f"{base / data.good}: {len(good)} good images, at least {_MIN_GOOD_IMAGES} are needed", hint=hint
        )
    duplicates = audit.duplicate_pairs() if audit else []
    merged = groups.merge_groups({path: images.groups[path] for path in images.by_label["good"]}, duplicates)
    group_of = {path: merged[path] for path in good}
    fixed_groups = {group_of[path] for path in images.test if path in group_of}
    fractions = {part: share for part, share in SPLIT_FRACTIONS.items() if not (images.test and part == "test")}
    members: dict[str, list[Path]] = {}
    for path in good:
        if group_of[path] not in fixed_groups:
            members.setdefault(group_of[path], []).append(path)
    if len(members) < len(fractions):
        hint = f"correct data.group: each of {', '.join(fractions)} needs a group"
        raise ConfigProblem(f"data.group makes {len(members)} groups, at least {len(fractions)} are needed", hint=hint)
    contradicted = _copies_of_defects(duplicates, set(group_of), set(defect))
    parts = _distribute_groups(members, fractions, data.seed)
    set_aside = sorted(
        path for part in ("fit", "calibrate", "threshold") for path in parts[part] if path in contradicted
    )
    left_out = set(set_aside)
    parts = {part: [path for path in paths if path not in left_out] for part, paths in parts.items()}
    if images.test:
        parts["test"] = sorted(images.test & set(good))
        set_aside = sorted(
            {*set_aside, *(path for path in good if group_of[path] in fixed_groups and path not in images.test)}
        )
    if not all(parts.values()):
        hint = "vedette audit shows the near copies; add good images that are not copies"
        raise ConfigProblem(f"{base / data.good}: too many good images are near copies of defective ones", hint=hint)
    masks = _match_masks(defect, base / data.mask) if data.mask is not None else {}
    good_groups = {path: group_of[path] for path in good}
    return Split(
        parts["fit"], parts["calibrate"], parts["threshold"], parts["test"], defect, masks, good_groups, set_aside
    )


def _copies_of_defects(duplicates: Iterable[tuple[Path, Path]], good: set[Path], defective: set[Path]) -> set[Path]:
    """Returns the good images that are copies of a defective one and do not differ in a small place only."""
    pairs = [(image, other) for pair in duplicates for image, other in (pair, pair[::-1])]
    return {
        image for image, other in pairs if image in good and other in defective and not differs_locally(image, other)
    }


def _distribute_groups(
    groups: Mapping[str, list[Path]], fractions: Mapping[str, float], seed: int
) -> dict[str, list[Path]]:
    """Assigns groups in random order, each to the least full part. The first groups go to different parts."""
    names = sorted(groups)
    np.random.default_rng(seed).shuffle(names)
    total = sum(map(len, groups.values()))
    parts: dict[str, list[Path]] = {part: [] for part in fractions}
    for name in names:
        empty = [part for part in fractions if not parts[part]]
        part = min(empty or fractions, key=lambda part: len(parts[part]) / (fractions[part] * total))
        parts[part] += groups[name]
    return {part: sorted(paths) for part, paths in parts.items()}


def _match_masks(defective: list[Path], folder: Path) -> dict[Path, Path]:
    by_stem = {path.stem: path for path in image_files.find_images(folder)}
    masks = {path: by_stem[path.stem] for path in defective if path.stem in by_stem}
    if not masks:
        hint = "a mask must have the file stem of its defective image (data.defect)"
        raise ConfigProblem(f"{folder}: no mask belongs to a defective image", hint=hint)
    return masks


def model_inputs(paths: Iterable[Path], spec: ModelInput) -> Iterator[NDArray[Any]]:
    """Yields images with the runtime's preprocessing, each 1 x height x width x 3, uint8."""
    preprocess = Preprocess(spec)
    for path in paths:
        yield preprocess(image_files.read_image(path))


def read_mask(path: Path) -> NDArray[Any]:
    """Returns a defect mask, H x W, bool: the opaque pixels if the file has an alpha channel, else the non-black
    pixels.

    Raises:
        ConfigProblem: the file cannot be read as an image.
    """
    pixels = image_files.read_image(path, cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return np.asarray(pixels[..., 3] >= 128)
    return np.asarray(pixels.reshape(*pixels.shape[:2], -1).max(axis=2) > 0)
