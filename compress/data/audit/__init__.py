"""Audit of a data set: finds images that would break a build or distort its metrics, before the build starts.

    image_checks      decodes each image, finds unreadable, truncated or empty files, and measures the others
    near_duplicates   exact duplicates and near duplicates
    keypoints         places of a picture that can be found again under another exposure
    repeated_parts    one part in several pictures
    quality_outliers  outliers in sharpness, exposure, framing, size and color
    embedding         embedding of an image by a pretrained network
    label_errors      label errors, isolated images, and class imbalance
    suspected_defects good images that look defective
    sample_size       precision of the metrics that the number of images allows
    findings          findings and the audit result
    html_report       HTML report with thumbnails

Groups and the keep list are in compress/data (groups.py, kept_images_csv.py).

The audit uses imagehash and scikit-learn. It does not use cleanvision: its thresholds are fixed for all data sets, and
it depends on pandas and matplotlib. It does not use cleanlab: its rule flags too many images of a hard data set
(label_errors.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedette.runtime.progress import Progress, no_progress

from ..groups import merge_groups
from . import (
    image_checks,
    label_errors,
    labels_from_folders,
    near_duplicates,
    quality_outliers,
    repeated_parts,
    suspected_defects,
)
from .embedding import INPUT_SIZE, ImageEmbedder, ImageFeatures
from .findings import AuditResult, Finding, sort_findings
from .image_checks import ImageMeasurements

_THREADS = 2
_BATCH = 4


def audit_images(
    images: Mapping[str, Sequence[Path]],
    folders: Mapping[str, Path],
    groups: Mapping[Path, str],
    base: Path,
    progress: Progress = no_progress,
) -> AuditResult:
    """Audits all images and decodes each image once.

    Args:
        images: files by label
        folders: folder of each label
        groups: group of each image, from `assign_groups`
        base: folder to which file names in the result are relative
        progress: shows the progress of the loop over the images
    """
    labelled_paths = [(path, label) for label, paths in images.items() for path in paths]
    findings: list[Finding] = []
    measurements: list[ImageMeasurements] = []
    features: list[NDArray[Any]] = []
    cells: dict[Path, Tensor] = {}
    good_label = labels_from_folders.GOOD_LABEL if len(images) > 1 else next(iter(images))
    for checked, extracted in _check_and_embed(progress(labelled_paths, "audit")):
        findings += [each for each in checked if isinstance(each, Finding)]
        usable = [each for each in checked if isinstance(each, ImageMeasurements)]
        measurements += usable
        features += [each.embeddings for each in extracted]
        rows = (row for each in extracted for row in each.cells)
        cells |= {
            each.path: row
            for each, row in zip(usable, rows, strict=True)
            if each.label == good_label and len(cells) < suspected_defects.MAX_IMAGES
        }

    unchecked = []
    copies = list(near_duplicates.find_duplicates(measurements))
    findings += copies
    findings += quality_outliers.find_outliers(measurements)
    if len(measurements) < quality_outliers.MIN_OUTLIER_IMAGES:
        unchecked.append(f"outliers: {len(measurements)} images are too few for a typical value")
    usable_groups = {each.path: groups[each.path] for each in measurements}
    merged_groups = merge_groups(usable_groups, [(each.file, other) for each in copies for other in each.others])
    repeated = repeated_parts.find_repeated_parts(measurements, merged_groups)
    findings += repeated
    part_pairs = repeated_parts.pairs_to_join(repeated, usable_groups)
    merged_groups = merge_groups(merged_groups, part_pairs)
    if measurements:
        findings += _check_labels(measurements, np.concatenate(features), copies, merged_groups, unchecked)
    findings += label_errors.find_imbalance(images, folders)
    reported = {path for each in findings if each.kind != "near_duplicate" for path in (each.file, *each.others)}
    findings += suspected_defects.find_suspects(cells, good_label, reported, unchecked)
    return AuditResult(
        base=base,
        images={label: list(paths) for label, paths in images.items()},
        findings=sort_findings(findings),
        groups=merged_groups,
        part_pairs=part_pairs,
        unchecked=tuple(unchecked),
        notes=tuple(_describe_depth(measurements)),
        cells=cells,
    )


def _describe_depth(measurements: Sequence[ImageMeasurements]) -> Iterator[str]:
    """How images of more than 8 bits are read."""
    counts = Counter(each.bits for each in measurements)
    if counts[16]:
        yield f"depth: {counts[16]} images have 16 bits per channel; the upper 8 are used"
    if counts[12]:
        yield f"depth: {counts[12]} images have 12 bits in 16 (no value over 4095); the upper 8 of the 12 are used"
    if counts[12] and counts[16]:
        yield "depth: both kinds are in this set. A 16-bit image that is nearly black counts as 12 bits: look at them"


def _check_labels(
    measurements: list[ImageMeasurements],
    features: NDArray[Any],
    copies: list[Finding],
    groups: Mapping[Path, str],
    unchecked: list[str],
) -> list[Finding]:
    """Finds label errors. It skips images that have an exact duplicate with another label."""
    contradicted = {path for each in copies if each.breaks for path in (each.file, *each.others)}
    rows = [row for row, each in enumerate(measurements) if each.path not in contradicted]
    checked = [measurements[row] for row in rows]
    if not checked:
        return []
    findings, reason = label_errors.find_mislabeled(checked, features[rows], groups)
    if reason is not None:
        unchecked.append(reason)
    mislabeled = {each.file for each in findings}
    isolated = label_errors.find_isolated_images(checked, features[rows])
    return findings + [each for each in isolated if each.file not in mislabeled]


def _check_and_embed(
    images: Iterable[tuple[Path, str]],
) -> Iterator[tuple[list[ImageMeasurements | Finding], list[ImageFeatures]]]:
    """Yields batches of checked images and the features of the usable ones.

    Two threads process small batches, each on one core. Decoding and matrix products release the GIL. Parallelism
    within a layer costs more than it gains, because the network is narrow.
    """
    embed = ImageEmbedder()

    def check(batch: Sequence[tuple[Path, str]]) -> tuple[list[ImageMeasurements | Finding], list[ImageFeatures]]:
        checked = [image_checks.check_image(path, label, INPUT_SIZE) for path, label in batch]
        pixels = [each.pixels for each in checked if isinstance(each, ImageMeasurements) and each.pixels is not None]
        features = [embed(pixels)] if pixels else []
        return [
            msgspec.structs.replace(each, pixels=None) if isinstance(each, ImageMeasurements) else each
            for each in checked
        ], features

    remaining, threads = iter(images), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            while chunk := list(islice(remaining, _BATCH * _THREADS * 4)):
                yield from pool.map(check, [chunk[start : start + _BATCH] for start in range(0, len(chunk), _BATCH)])
    finally:
        torch.set_num_threads(threads)
