"""Leakage-free split of the images of an anomaly goal.

    fit         good images that the anomaly model is fitted to
    calibrate   good images that determine the quantization ranges
    threshold   good images that determine the decision threshold
    test        held-out good images, and all defective images; the folder `data.test`, if the goal names one
    known       known defects, if the goal names any; known_defects.py leaves out those that resemble test images

Images of one group (one part, one shift, one module) resemble each other more than they resemble future images. Near
duplicates do so even more. A group in two parts of the split is leakage, so each group stays in one part. A good image
that is a near duplicate of a defective image may be in the test part. If its group belongs to another part, the image
is set aside, unless the two differ in a small place only: that is a small defect, and the good image is a good part. If
the goal fixes the test images, all other images of their groups are set aside. Fewer good images than a split needs are
in all parts but test (few_images.py).
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
from vedette.runtime.inference.inspector import Inspector
from vedette.runtime.inference.preprocess import Preprocess
from vedette.runtime.progress import Log, Progress, no_log, no_progress

from ..goal.goal_tables import DataSettings
from . import few_images, groups, trimming
from .audit.findings import AuditResult
from .audit.near_duplicates import differs_locally
from .audit.sample_size import SampleSize
from .known_defects import separate_known_defects
from .labeled_images import KNOWN, LabeledImages, audit_labeled_images, find_images

SPLIT_FRACTIONS = {"fit": 0.5, "calibrate": 0.1, "threshold": 0.15, "test": 0.25}


class Split(msgspec.Struct, frozen=True):
    """The images of each part of the split. The four lists of good images are disjoint, unless there are few images."""

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
    unusual: list[Path] = []
    """Good images of no part: unlike most of the part fit, so that a robust fit leaves them out."""
    suspects: list[Path] = []
    """Good images of any part that look defective; a person has to look at them."""
    few: bool = False
    """Whether all good images but the test images are in fit, calibrate and threshold alike."""
    known: list[Path] = []
    """Images of known defects; none of them is a copy of a test image or in the group of one."""
    known_left_out: list[Path] = []
    """Known defects that are."""
    references: list[Path] = []
    """Images of the part fit that a golden sample must compare with; empty: it chooses."""


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
    if split.few:
        log(few_images.describe(len(split.fit), [*split.test, *split.defect]))
    else:
        log(str(SampleSize(len(split.threshold), len(split.test), len(split.defect))))
    if split.set_aside:
        log(f"set aside: {len(split.set_aside)} good images: near copies of defective or of fixed test images")
    split = msgspec.structs.replace(split, suspects=audit.suspects)
    unusual = [] if split.few or data.list is not None else trimming.find_unusual(split.fit, split.groups, audit)
    if unusual:
        log(f"robust fit: {len(unusual)} of {len(split.fit)} good images are unlike the others and not fitted to")
        left_out = set(unusual)
        fit = [path for path in split.fit if path not in left_out]
        split = msgspec.structs.replace(split, fit=fit, unusual=unusual)
    if split.few and split.known:
        log(f"known defects: not used with fewer than {few_images.MIN_SPLIT_IMAGES} good images")
        split = msgspec.structs.replace(split, known=[])
    elif images.by_label.get(KNOWN):
        log(f"known defects: {len(split.known)}")
        for path in split.known_left_out:
            log(f"left out: {audit.relative_name(path)}: a copy of a test image, or in the group of one")
    for part in ("set_aside", "unusual", *(["known_left_out"] if KNOWN in images.by_label else [])):
        summary[part] = [audit.relative_name(path) for path in getattr(split, part)]
    return msgspec.structs.replace(split, audit=summary)


def split_images(
    data: DataSettings,
    base: Path,
    images: LabeledImages | None = None,
    audit: AuditResult | None = None,
    always_divided: bool = False,
) -> Split:
    """Splits the images that `data` names. The seed determines the split.

    Args:
        data: the table `[data]` of the goal
        base: folder of the goal file
        images: result of `find_images`; None: this function calls it
        audit: result of the audit; None: all images are used, and near duplicates may be in different parts
        always_divided: whether few images are divided too

    Raises:
        ConfigProblem: a folder is missing or empty, or there are too few groups.
    """
    images = images or find_images(data, base)
    by_label = images.usable_images(audit)
    good, defect = by_label["good"], by_label.get("defect", [])
    duplicates = audit.duplicate_pairs() if audit else []
    merged = groups.merge_groups({path: images.groups[path] for path in images.by_label["good"]}, duplicates)
    copies_of = {path: merged[path] for path in good}
    group_of = groups.merge_groups(copies_of, audit.part_pairs if audit else ())
    if len(set(group_of.values())) < len(SPLIT_FRACTIONS):  # few parts, each in many pictures
        group_of = copies_of
    fixed_groups = {copies_of[path] for path in images.test if path in copies_of}
    fractions = {part: share for part, share in SPLIT_FRACTIONS.items() if not (images.test and part == "test")}
    members: dict[str, list[Path]] = {}
    for path in good:
        if copies_of[path] not in fixed_groups:
            members.setdefault(group_of[path], []).append(path)
    few = few_images.is_few(members) and not always_divided
    if len(members) < len(fractions) and not few:
        made = [images.groups[path] for paths in members.values() for path in paths]
        raise groups.too_few_groups(made, members, fractions)
    known = by_label.get(KNOWN, [])
    contradicted = _copies_of_defects(duplicates, set(group_of), {*defect, *known})
    if few:
        parts = few_images.assign_parts(members, base / data.good)
    else:
        parts = _distribute_groups(members, fractions, data.seed)
    used = [path for part in ("fit", "calibrate", "threshold") for path in parts[part]]
    set_aside = sorted({path for path in used if path in contradicted})
    left_out = set(set_aside)
    parts = {part: [path for path in paths if path not in left_out] for part, paths in parts.items()}
    if images.test:
        parts["test"] = sorted(images.test & set(good))
        set_aside = sorted(
            {*set_aside, *(path for path in good if copies_of[path] in fixed_groups and path not in images.test)}
        )
    if not all(paths for part, paths in parts.items() if not (few and part == "test")):
        hint = "vedette audit shows the near copies; add good images that are not copies"
        raise ConfigProblem(f"{base / data.good}: too many good images are near copies of defective ones", hint=hint)
    masks = _match_masks(defect, base / data.mask) if data.mask is not None else {}
    all_groups = {path: images.groups[path] for paths in by_label.values() for path in paths}
    known, known_left_out = separate_known_defects(known, [*parts["test"], *defect], all_groups, duplicates)
    return Split(
        fit=parts["fit"],
        calibrate=parts["calibrate"],
        threshold=parts["threshold"],
        test=parts["test"],
        defect=defect,
        masks=masks,
        groups={path: group_of[path] for path in good},
        set_aside=set_aside,
        known=known,
        known_left_out=known_left_out,
        few=few,
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


def model_inputs(paths: Iterable[Path], spec: ModelInput, inspector: Inspector | None = None) -> Iterator[NDArray[Any]]:
    """Yields images with the runtime's preprocessing, each 1 x height x width x 3, uint8.

    Args:
        paths: image files
        spec: the model's input
        inspector: cuts what the model sees out of an image; None: the model sees the whole image
    """
    preprocess = Preprocess(spec, inspector)
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
