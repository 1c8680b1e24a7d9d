"""Exact duplicates and near duplicates.

An exact duplicate has identical pixels, in any file format. A near duplicate is an image that was saved again, scaled,
brightened, or got noise or slight blur. It may also be the camera's next frame of a part that has not moved. Two images
are near duplicates under two conditions: their perceptual hashes differ in few bits, and their residual details are
highly correlated. The residual is the detail minus the median detail of the set, which is the part that all images
share. The second condition is essential in a factory. Cells, screws and biscuits in front of a fixed camera are so
similar that hashes and plain correlation would report half a set as duplicates.

A good part and a part with a small defect, seen by a still camera, are near duplicates too. `differs_locally` tells
them from two copies of one picture: they differ strongly in one place and hardly elsewhere.

The check does not use embeddings. Over 901 solar cells, the nearest other cell lies at 0.28 of the typical distance
(median), but a JPEG copy lies at 0.46. The check does not find shifted, cropped, rotated or mirrored images. Crops by
2 % and shifts by 1 % already escape it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from vedette.runtime.camera import image_files

from .findings import Finding
from .image_checks import ImageMeasurements, shrink_to_side
from .near_copy_search import MAX_HASH_DISTANCE, FineDetails, compute_residuals, find_near_copies

# Largest difference of a pixel, relative to the other 95 % of the pixels. In 20 images each of five sets, copies with
# noise, JPEG of quality 40, another brightness, scale, blur or half a pixel of shift have at most 22; copies with noise
# and a defect of 60 levels, 2 to 16 pixels in radius, have a median of 33 or more.
MIN_LOCAL_RATIO = 25.0
_COMPARED_SIDE = 1024  # pixels of the longer side of the images that are compared, at most
_SHADING_PIXELS = 65  # side of the mean that removes differences in shading


def find_duplicates(images: Sequence[ImageMeasurements]) -> Iterator[Finding]:
    """Yields a finding for each exact or near duplicate of an earlier image, and states whether the labels differ."""
    originals: dict[bytes, list[int]] = {}
    for number, each in enumerate(images):
        originals.setdefault(each.digest, []).append(number)
    for copies in originals.values():
        for number in copies[1:]:
            yield _copy_finding(images, number, copies)

    distinct = [images[copies[0]] for copies in originals.values()]
    if len(distinct) > 1:
        hashes = np.stack([each.hash for each in distinct])
        residuals = compute_residuals(np.stack([each.detail.ravel() for each in distinct]))
        labels = np.unique([each.label for each in distinct], return_inverse=True)[1]
        fine = FineDetails([each.detail for each in distinct])
        for number, (bits, others) in sorted(find_near_copies(hashes, residuals, labels, fine).items()):
            yield _near_copy_finding(distinct[number], bits, [distinct[other] for other in others])


def differs_locally(first: Path, second: Path) -> bool:
    """Whether two near duplicates differ in a small place only, as a good part and a part with a small defect do.

    Brightness, contrast and slow shading may differ. Two copies of one picture do not differ locally.

    Args:
        first: an image file
        second: another one; it is scaled to the size of the first
    """
    one, other = (
        shrink_to_side(image_files.read_image(path, cv2.IMREAD_GRAYSCALE).astype(np.float32), _COMPARED_SIDE)
        for path in (first, second)
    )
    other = np.asarray(cv2.resize(other, one.shape[::-1], interpolation=cv2.INTER_AREA))
    one, other = (np.asarray(cv2.blur(each, (3, 3))) for each in (one, other))
    gain = float(np.mean((one - one.mean()) * (other - other.mean())) / max(float(other.var()), 1e-6))
    difference = one - one.mean() - gain * (other - other.mean())
    difference = np.abs(difference - cv2.blur(difference, (_SHADING_PIXELS, _SHADING_PIXELS)))
    usual = np.sort(difference.ravel())[: int(0.95 * difference.size)]
    return bool(difference.max() / (np.sqrt(np.mean(usual**2)) + 0.5) >= MIN_LOCAL_RATIO)


def _copy_finding(images: Sequence[ImageMeasurements], number: int, copies: list[int]) -> Finding:
    image = images[number]
    contradicting = [images[copy] for copy in copies if images[copy].label != image.label]
    why = f"the same picture is labelled {contradicting[0].label}" if contradicting else "it is a copy"
    others = [copy for copy in copies if copy != number] if contradicting else copies[:1]
    return Finding(
        kind="duplicate",
        file=image.path,
        label=image.label,
        measure="differing pixels",
        value=0,
        threshold=0,
        why=why,
        others=tuple(images[copy].path for copy in others),
        breaks=bool(contradicting),
    )


def _near_copy_finding(image: ImageMeasurements, bits: int, near_copies: list[ImageMeasurements]) -> Finding:
    labels = sorted({other.label for other in near_copies} - {image.label})
    why = f"nearly the same picture is labelled {', '.join(labels)}" if labels else "it is nearly a copy"
    return Finding(
        kind="near_duplicate",
        file=image.path,
        label=image.label,
        measure="bits of the perceptual hash that differ",
        value=bits,
        threshold=MAX_HASH_DISTANCE,
        why=why,
        others=tuple(other.path for other in near_copies),
    )
