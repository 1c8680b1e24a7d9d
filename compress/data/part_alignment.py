"""Alignment of the parts in good images: what the model will see of each image, and which images cannot be aligned.

motion_selection.py finds out whether and how parts move. The limits of the motion, the least correlation of a part and
the reference image follow from good images, and go into the bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import Alignment, Inspection
from vedette.runtime.camera import image_files
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.inference.affine_transforms import Motion, measure_motion
from vedette.runtime.inference.inspector import Inspector
from vedette.runtime.inference.part_aligner import Placement
from vedette.runtime.progress import Log, Progress

from ..goal.inspection_settings import InspectionSettings
from .motion_selection import LARGEST_SHIFT, AlignmentEvidence, choose_motion, make_reference
from .part_region import find_part_region
from .split import Split

REFERENCE_PIXELS = 256  # of the longer side of the reference image
MAX_IMAGES = 60  # good images that the reference is made of
MIN_IMAGES = 8  # good images for `auto`
MARGIN = 1.5  # the limits of the motion, as multiples of the largest one seen


def fit_inspector(
    settings: InspectionSettings, paths: Sequence[Path], progress: Progress, log: Log
) -> tuple[Inspector | None, AlignmentEvidence | None]:
    """What the model will see of each image; None: the whole image. And how sure the alignment is, if there is one.

    Args:
        settings: the table `[inspect]` of the goal
        paths: good images that the model is fitted to
        progress: shows the progress under a label
        log: receives a line about the alignment
    """
    region = () if isinstance(settings.region, str) else settings.region
    plain = Inspector(Inspection(region)) if region else None
    if settings.align == "none" or (settings.align == "auto" and len(paths) < MIN_IMAGES):
        return plain, None
    chosen = [paths[index] for index in np.linspace(0, len(paths) - 1, min(len(paths), MAX_IMAGES)).astype(int)]
    images = _read_images(progress(chosen, "looking for moving parts"))
    attempt = choose_motion(settings, images)
    if attempt is None:
        return plain, None
    reference, placements = make_reference(images, attempt.motion)
    alignment = _limit_motion(attempt.motion, placements, images[0].shape[1] / images[0].shape[0])
    log(f"alignment: {alignment.motion}; {attempt.evidence}")
    if settings.region == "auto" and (region := find_part_region(reference)):
        (left, top), (right, bottom) = region[0], region[2]
        log(f"region: the part, {left:.2f} … {right:.2f} of the width and {top:.2f} … {bottom:.2f} of the height")
    return Inspector(Inspection(region, alignment), reference), attempt.evidence


def leave_out_unaligned(images: Split, inspector: Inspector, progress: Progress, log: Log) -> Split:
    """Leaves the images in which the part is not found out of the parts that a model is fitted to.

    In the other parts they stay: a good part that is not found is a false alarm.
    """
    if (aligner := inspector.aligner) is None:
        return images
    found = {
        path: aligner.locate(image_files.read_image(path)).found
        for path in progress([*images.fit, *images.calibrate], "aligning")
    }
    lost = [path for path, is_found in found.items() if not is_found]
    if lost:
        log(f"left out: {len(lost)} good images, in which the part was not found: {lost[0].name} …")
    parts = {part: [path for path in getattr(images, part) if found[path]] for part in ("fit", "calibrate")}
    if not all(parts.values()):
        hint = 'write align = "none" into [inspect], or give images that show one kind of part'
        raise ConfigProblem("inspect.align: the part was found in too few good images", hint=hint)
    return msgspec.structs.replace(images, **parts, set_aside=sorted([*images.set_aside, *lost]))


def _limit_motion(motion: Alignment, placements: list[Placement], aspect: float) -> Alignment:
    """The motion with the limits that the good images call for, and the least correlation of a part."""
    moved = [measure_motion(each.matrix, aspect) for each in placements if each.found] or [Motion(0, 0, 0)]
    correlations = np.array([each.correlation for each in placements])
    return msgspec.structs.replace(
        motion,
        shift=round(min(LARGEST_SHIFT, MARGIN * max(each.shift for each in moved) + 0.02), 3),
        angle=0.0
        if motion.motion == "translation"
        else round(min(180.0, MARGIN * max(each.angle for each in moved) + 2), 1),
        scale=0.0
        if motion.motion != "similarity"
        else round(min(0.5, MARGIN * max(each.scale for each in moved) + 0.02), 3),
        correlation=round(min(0.5 * float(np.median(correlations)), 0.9 * float(correlations.min())), 3),
    )


def _read_images(paths: Iterable[Path]) -> list[NDArray[Any]]:
    """The images, scaled to the size of the reference, which has the aspect ratio of the first."""
    images: list[NDArray[Any]] = []
    size: tuple[int, int] | None = None
    for path in paths:
        image = image_files.read_image(path)
        if size is None:
            factor = min(1.0, REFERENCE_PIXELS / max(image.shape[:2]))
            size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
        images.append(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)))
    return images
