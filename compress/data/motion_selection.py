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

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import Alignment, Inspection
from vedette.runtime.inference.inspector import Inspector
from vedette.runtime.inference.part_aligner import PartAligner, Placement, comparison_size, normalize

from ..goal.inspection_settings import InspectionSettings

MotionKind = Literal["translation", "rigid", "similarity"]

REFERENCE = "reference.png"  # member of the bundle
MAX_UNEXPLAINED = 1 / 3
MAX_DISAGREEMENT = 0.02
MIN_IMPROVED = 0.9  # share of the judging images that alignment must improve
CLEARLY_BETTER = 0.5  # a full turn must leave at most this share of what small motions leave unexplained
EQUIVALENT = 1.2  # a simpler motion suffices if it leaves at most this many times as much unexplained
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


class Attempt(NamedTuple):
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


def choose_motion(settings: InspectionSettings, images: list[NDArray[Any]]) -> Attempt | None:
    """The simplest motion that explains about as much as the best one; None: no motion explains the images."""
    fitted, judged = (images[::2], images[1::2]) if len(images) > 1 else (images, images)
    before = _correlate_with_median(fitted, judged)

    def try_motions(motions: Sequence[tuple[MotionKind, float, float]]) -> list[Attempt]:
        return [_try_motion(fitted, judged, before, *each) for each in motions if settings.align in ("auto", each[0])]

    small = try_motions(SMALL_MOTIONS)
    if real := [each for each in small if each.is_real]:
        return _simplest(real)
    limit = CLEARLY_BETTER * min(attempt.evidence.unexplained for attempt in small)
    if real := [each for each in try_motions(FULL_TURNS) if each.is_real and each.evidence.unexplained <= limit]:
        return _simplest(real)
    return None if settings.align == "auto" else _simplest(small)


def _simplest(attempts: Sequence[Attempt]) -> Attempt:
    """The first attempt that explains about as much as the best one."""
    least = min(attempt.evidence.unexplained for attempt in attempts)
    return next(each for each in attempts if each.evidence.unexplained <= EQUIVALENT * least)


def _correlate_with_median(fitted: Sequence[NDArray[Any]], judged: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Correlation of each judged image with the median of the fitted ones, without alignment."""
    median = np.median(np.stack(fitted), axis=0).astype(np.uint8)
    reference, *details = _unit_details([median, *judged])
    return np.asarray(np.array(details) @ reference)


def _try_motion(
    fitted: list[NDArray[Any]],
    judged: list[NDArray[Any]],
    before: NDArray[Any],
    motion: MotionKind,
    angle: float,
    scale: float,
) -> Attempt:
    """Aligns the judged images with a reference of the fitted ones; `before` is from `_correlate_with_median`."""
    settings = Alignment(motion, REFERENCE, LARGEST_SHIFT, angle, scale, correlation=-1.0)
    aligner = PartAligner(settings, make_reference(fitted, settings)[0])
    placements = [aligner.locate(image) for image in judged]
    # An image that only a motion beyond the limits would align counts as not aligned.
    after = np.where([each.found for each in placements], [each.correlation for each in placements], before)
    pairs = zip(judged, placements, strict=True)
    disagreement = float(np.median([aligner.measure_disagreement(image, placement) for image, placement in pairs]))
    medians = float(np.median(before)), float(np.median(after))
    evidence = AlignmentEvidence(len(judged), int((after > before).sum()), *medians, disagreement)
    return Attempt(settings, evidence, float(np.quantile([_displacement(each) for each in placements], 0.9)))


def _displacement(placement: Placement) -> float:
    """The largest displacement of a corner, as a fraction of the side."""
    corners = np.array([(0, 0), (1, 0), (0, 1), (1, 1)])
    return float(np.abs(corners @ placement.matrix[:, :2].T + placement.matrix[:, 2] - corners).max())


def make_reference(images: Sequence[NDArray[Any]], motion: Alignment) -> tuple[NDArray[Any], list[Placement]]:
    """The median of the aligned images, and where it lies in each of them.

    Args:
        images: H x W x 3, uint8, all of one size
        motion: kind and limits of the motion
    """
    reference = images[_most_typical(images)]
    for _ in range(2):
        inspector = Inspector(Inspection(alignment=motion), reference)
        assert inspector.aligner is not None
        placements = [inspector.aligner.locate(image) for image in images]
        size = reference.shape[1], reference.shape[0]
        aligned = [inspector.cut(image, at, size) for image, at in zip(images, placements, strict=True)]
        reference = np.median(np.stack(aligned), axis=0).astype(np.uint8)
    return reference, placements


def _most_typical(images: Sequence[NDArray[Any]]) -> int:
    """Index of the image with the highest sum of correlations with the others."""
    details = _unit_details(images)
    return int((details @ details.T).sum(axis=1).argmax())


def _unit_details(images: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The normalized images as rows of mean 0 and length 1."""
    size = comparison_size(images[0])
    details = np.stack([normalize(image, size).ravel() for image in images])
    details -= details.mean(axis=1, keepdims=True)
    return np.asarray(details / (np.linalg.norm(details, axis=1, keepdims=True) + 1e-9))
