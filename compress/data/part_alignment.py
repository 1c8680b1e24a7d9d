"""Whether and how the parts in good images move, and the reference image that frames are aligned with.

The good images are divided into two halves. The first gives a reference for each kind of motion: the median of the
images, aligned with the most typical one, twice. The second half judges whether a kind of motion is real:

unexplained     (1 - correlation with the reference, aligned) / (1 - correlation with the median, not aligned):
                alignment must explain two thirds of what differs
disagreement    two halves of the aligned part must not want to move apart. Biscuits and magnetic tiles correlate better
                when they are aligned, too, but there the halves disagree

docs/accuracy.md has both figures for six sets, each as it is and shifted, turned or scaled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import Alignment, Inspection
from vedette.runtime.camera import image_files
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.inference.affine_transforms import Motion, measure_motion
from vedette.runtime.inference.inspector import Inspector
from vedette.runtime.inference.part_aligner import PartAligner, Placement
from vedette.runtime.progress import Log, Progress

from ..goal.inspection_settings import InspectionSettings
from .part_region import find_part_region
from .split import Split

MotionKind = Literal["translation", "rigid", "similarity"]

REFERENCE = "reference.png"  # member of the bundle
REFERENCE_PIXELS = 256  # of the longer side of the reference image
MAX_IMAGES = 60  # good images that the reference is made of
MIN_IMAGES = 8  # good images for `auto`
MAX_UNEXPLAINED = 1 / 3
MAX_DISAGREEMENT = 0.02
MIN_IMPROVED = 0.9  # share of the judging images that alignment must improve
CLEARLY_BETTER = 0.5  # a full turn must leave at most this share of what small motions leave unexplained
EQUIVALENT = 1.2  # a simpler motion suffices if it leaves at most this many times as much unexplained
MARGIN = 1.5  # the limits of the motion, as multiples of the largest one seen
MIN_DISPLACEMENT = 0.01  # of the side: how far alignment must move the corners of a tenth of the images
# The motions that are tried, each list from the simplest: kind, largest rotation in degrees, largest change of the
# scale. Full turns are tried only if nothing smaller explains the images, because symmetrical parts fit in many poses.
SMALL_MOTIONS: tuple[tuple[MotionKind, float, float], ...] = (
    ("translation", 0, 0),
    ("rigid", 20, 0),
    ("similarity", 20, 0.2),
)
FULL_TURNS: tuple[tuple[MotionKind, float, float], ...] = (("rigid", 180, 0), ("similarity", 180, 0.2))
LARGEST_SHIFT = 0.45  # of the side


class AlignmentEvidence(msgspec.Struct, frozen=True):
    """How sure the alignment is: good images that the reference was not made of."""

    images: int
    improved: int
    """Images whose correlation with the reference is higher after alignment."""
    correlation_before: float
    """Median correlation with the median of images that are not aligned."""
    correlation_after: float
    """Median correlation with the reference after alignment."""
    disagreement: float
    """Median of how far apart two halves of the aligned part want to move, as a fraction of the side."""

    @property
    def unexplained(self) -> float:
        return (1 - self.correlation_after) / max(1 - self.correlation_before, 1e-6)

    def __str__(self) -> str:
        return (
            f"on {self.improved} of {self.images} held-out good images it raises the correlation with the reference, "
            f"in the median from {self.correlation_before:.2f} to {self.correlation_after:.2f}"
        )


class _Attempt(NamedTuple):
    """A kind of motion that was tried."""

    motion: Alignment
    evidence: AlignmentEvidence
    displacement: float
    """90th percentile of the largest displacement of a corner, as a fraction of the side."""

    @property
    def is_real(self) -> bool:
        return (
            self.evidence.unexplained <= MAX_UNEXPLAINED
            and self.evidence.improved >= MIN_IMPROVED * self.evidence.images
            and self.evidence.disagreement <= MAX_DISAGREEMENT
            and self.displacement >= MIN_DISPLACEMENT
        )


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
    attempt = _choose_motion(settings, images)
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


def make_reference(images: Sequence[NDArray[Any]], motion: Alignment) -> tuple[NDArray[Any], list[Placement]]:
    """The median of the aligned images, and where it lies in each of them.

    Args:
        images: H x W x 3, uint8, all of one size
        motion: kind and limits of the motion
    """
    reference = images[_most_typical(images, motion)]
    for _ in range(2):
        inspector = Inspector(Inspection(alignment=motion), reference)
        assert inspector.aligner is not None
        placements = [inspector.aligner.locate(image) for image in images]
        size = reference.shape[1], reference.shape[0]
        aligned = [inspector.cut(image, at, size) for image, at in zip(images, placements, strict=True)]
        reference = np.median(np.stack(aligned), axis=0).astype(np.uint8)
    return reference, placements


def _choose_motion(settings: InspectionSettings, images: list[NDArray[Any]]) -> _Attempt | None:
    """The simplest motion that explains about as much as the best one; None: no motion explains the images."""
    small = [_try_motion(images, *each) for each in SMALL_MOTIONS if settings.align in ("auto", each[0])]
    if real := [each for each in small if each.is_real]:
        return _simplest(real)
    limit = CLEARLY_BETTER * min(attempt.evidence.unexplained for attempt in small)
    turns = [_try_motion(images, *each) for each in FULL_TURNS if settings.align in ("auto", each[0])]
    if real := [each for each in turns if each.is_real and each.evidence.unexplained <= limit]:
        return _simplest(real)
    return None if settings.align == "auto" else _simplest(small)


def _simplest(attempts: Sequence[_Attempt]) -> _Attempt:
    """The first attempt that explains about as much as the best one."""
    least = min(attempt.evidence.unexplained for attempt in attempts)
    return next(each for each in attempts if each.evidence.unexplained <= EQUIVALENT * least)


def _try_motion(images: list[NDArray[Any]], motion: MotionKind, angle: float, scale: float) -> _Attempt:
    settings = Alignment(motion, REFERENCE, LARGEST_SHIFT, angle, scale, correlation=-1.0)
    fitted, judged = (images[::2], images[1::2]) if len(images) > 1 else (images, images)
    aligner = PartAligner(settings, make_reference(fitted, settings)[0])
    unmoved = PartAligner(settings, np.median(np.stack(fitted), axis=0).astype(np.uint8))
    before = np.array([unmoved.correlate_unmoved(image) for image in judged])
    placements = [aligner.locate(image) for image in judged]
    # An image that only a motion beyond the limits would align counts as not aligned.
    after = np.where([each.found for each in placements], [each.correlation for each in placements], before)
    pairs = zip(judged, placements, strict=True)
    disagreement = float(np.median([aligner.measure_disagreement(image, placement) for image, placement in pairs]))
    medians = float(np.median(before)), float(np.median(after))
    evidence = AlignmentEvidence(len(judged), int((after > before).sum()), *medians, disagreement)
    return _Attempt(settings, evidence, float(np.quantile([_displacement(each) for each in placements], 0.9)))


def _displacement(placement: Placement) -> float:
    """The largest displacement of a corner, as a fraction of the side."""
    corners = np.array([(0, 0), (1, 0), (0, 1), (1, 1)])
    return float(np.abs(corners @ placement.matrix[:, :2].T + placement.matrix[:, 2] - corners).max())


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


def _most_typical(images: Sequence[NDArray[Any]], motion: Alignment) -> int:
    """Index of the image with the highest sum of correlations with the others."""
    aligner = PartAligner(motion, images[0])
    details = np.stack([aligner.normalize(image).ravel() for image in images])
    details -= details.mean(axis=1, keepdims=True)
    details /= np.linalg.norm(details, axis=1, keepdims=True) + 1e-9
    return int((details @ details.T).sum(axis=1).argmax())
