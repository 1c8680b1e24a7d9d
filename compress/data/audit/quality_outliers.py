"""Quality outliers: images that differ from their set in sharpness, exposure, framing, size or color.

Each image is compared with the median of its set, in units of the median absolute deviation (scaled by 1.4826 to a
standard deviation; Rousseeuw and Croux, "Alternatives to the Median Absolute Deviation", 1993). This measure is robust
against a few bad images. An outlier must also differ by a minimum amount, even in a uniform set. The set holds the
images of one label if every label has 20 images, else all images.

If the normal variation is as large as a fault, the check misses the fault. Examples are an image that is shifted by a
quarter among images of parts in random positions, and a dark image among cells of varying brightness.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import exp, log
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .findings import Finding, FindingKind
from .image_checks import ImageMeasurements

MIN_OUTLIER_IMAGES = 8  # outliers need at least this number of images
_MIN_LABEL_IMAGES = 20  # with this number of images in each label, each label is a set of its own
_OUTLIER_DEVIATIONS = 5.0  # standard deviations

MIN_DIFFERENCE = 0.3  # log10: half the power of fine detail
BLURRED_SHARPNESS = -1.28  # a natural scene blurred by 3 of 512 pixels; none of 901 solar cells is below -1.26
MIN_BRIGHTNESS_DIFFERENCE = 40.0  # levels of 255, of the mean brightness
MIN_CLIPPED_DIFFERENCE = 0.25  # fraction of pixels, above the median of the set
MIN_ALIGNED_CORRELATION = 0.7  # median correlation with the median image; above it parts count as aligned
MISPLACED_CORRELATION = 0.15
COMMON_SIZE_FRACTION = 0.8  # a size that this fraction of images has is the expected size
MIN_ASPECT_DIFFERENCE = log(1.5)
MAX_LISTED, MAX_LISTED_FRACTION = (
    5,
    0.1,
)  # deviating images (number, fraction) up to which each gets a finding; more images are a second format


def find_outliers(images: Sequence[ImageMeasurements]) -> Iterator[Finding]:
    """Finds the outliers among all images."""
    if len(images) < MIN_OUTLIER_IMAGES:
        return
    yield from _find_size_outliers(images)
    yield from _find_encoding_outliers(images)
    for population in split_by_label(images):
        yield from _find_blurred(population)
        yield from _find_exposure_outliers(population)
        yield from _find_framing_outliers(population)


def split_by_label(images: Sequence[ImageMeasurements]) -> list[list[ImageMeasurements]]:
    """Returns the images by label, or all in one set if a label has too few images."""
    labels = Counter(each.label for each in images)
    if len(labels) == 1 or min(labels.values()) < _MIN_LABEL_IMAGES:
        return [list(images)]
    return [[each for each in images if each.label == label] for label in labels]


def median_and_deviation(values: NDArray[Any]) -> tuple[float, float]:
    """Returns the median, and the median absolute deviation scaled to a standard deviation."""
    median = float(np.median(values))
    return median, float(1.4826 * np.median(np.abs(values - median)))


def _create_finding(
    kind: FindingKind, each: ImageMeasurements, measure: str, value: float, threshold: float, why: str
) -> Finding:
    return Finding(
        kind=kind, file=each.path, label=each.label, measure=measure, value=value, threshold=threshold, why=why
    )


def _find_blurred(images: Sequence[ImageMeasurements]) -> Iterator[Finding]:
    """Finds images with less than half the usual fine detail that are outliers or look blurred by 3 pixels."""
    median, deviation = median_and_deviation(np.array([each.sharpness for each in images]))
    limit = min(median - MIN_DIFFERENCE, max(median - _OUTLIER_DEVIATIONS * deviation, BLURRED_SHARPNESS))
    for each in images:
        if each.sharpness < limit:
            factor = 10 ** (median - each.sharpness)
            why = f"it has {factor:.1f} times less fine detail than the typical image of its set"
            yield _create_finding("blur", each, "log10 of fine over middle detail", each.sharpness, limit, why)


def _find_exposure_outliers(images: Sequence[ImageMeasurements]) -> Iterator[Finding]:
    median, deviation = median_and_deviation(np.array([each.brightness for each in images]))
    margin = max(_OUTLIER_DEVIATIONS * deviation, MIN_BRIGHTNESS_DIFFERENCE)
    clipped, clipped_deviation = median_and_deviation(np.array([each.clipped for each in images]))
    limit = clipped + max(_OUTLIER_DEVIATIONS * clipped_deviation, MIN_CLIPPED_DIFFERENCE)
    for each in images:
        difference = each.brightness - median
        if abs(difference) > margin:
            why = f"it is {'brighter' if difference > 0 else 'darker'} than its set, whose median is {median:.0f}"
            threshold = median + margin if difference > 0 else median - margin
            yield _create_finding("exposure", each, "mean level", each.brightness, threshold, why)
        elif each.clipped > limit:
            why = f"{each.clipped:.0%} of its pixels are black or white; in its set {clipped:.0%} are"
            yield _create_finding("exposure", each, "share of clipped pixels", each.clipped, limit, why)


def _find_framing_outliers(images: Sequence[ImageMeasurements]) -> Iterator[Finding]:
    """Finds outliers of the correlation with the median image (Fisher's z), if parts are aligned in the images."""
    vectors = np.stack([each.coarse.ravel() for each in images])
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    typical = np.median(vectors, axis=0)
    typical /= max(float(np.linalg.norm(typical)), 1e-6)
    correlation = np.clip(vectors @ typical, -0.999, 0.999)
    if float(np.median(correlation)) < MIN_ALIGNED_CORRELATION:
        return
    median, deviation = median_and_deviation(np.arctanh(correlation))
    limit = max(float(np.tanh(median - (_OUTLIER_DEVIATIONS + 1) * deviation)), MISPLACED_CORRELATION)
    limit = min(limit, float(np.tanh(median)) - MIN_DIFFERENCE)
    for each, value in zip(images, correlation, strict=True):
        if value < limit:
            why = "its subject differs from the typical image of its set, or lies elsewhere"
            yield _create_finding("framing", each, "correlation with the median image", float(value), limit, why)


def _find_size_outliers(images: Sequence[ImageMeasurements]) -> Iterator[Finding]:
    sizes = Counter((each.width, each.height) for each in images)
    most_common, count = sizes.most_common(1)[0]
    if count >= COMMON_SIZE_FRACTION * len(images):
        for size in sizes.keys() - {most_common}:
            why = f"{size[0]} × {size[1]} pixels, {count} others have {most_common[0]} × {most_common[1]}"
            fraction = size[0] * size[1] / (most_common[0] * most_common[1])
            deviating = [each for each in images if (each.width, each.height) == size]
            yield from _report_minority(
                "size", deviating, len(images), "pixels as a share of the usual", fraction, 1.0, why
            )
        return
    aspects = np.log([each.width / each.height for each in images])
    median, deviation = median_and_deviation(aspects)
    margin = max(_OUTLIER_DEVIATIONS * deviation, MIN_ASPECT_DIFFERENCE)
    for each, aspect in zip(images, aspects, strict=True):
        if abs(aspect - median) > margin:
            why = f"{each.width} × {each.height} is an unusual aspect ratio: the median of its set is {exp(median):.2f}"
            threshold = median + margin if aspect > median else median - margin
            yield _create_finding("size", each, "width over height", exp(aspect), exp(threshold), why)


def _find_encoding_outliers(images: Sequence[ImageMeasurements]) -> Iterator[Finding]:
    kinds = Counter(each.encoding for each in images)
    most_common, count = kinds.most_common(1)[0]
    for kind in kinds.keys() - {most_common}:
        deviating = [each for each in images if each.encoding == kind]
        why = f"{kind}, {count} others are {most_common}"
        fraction = len(deviating) / len(images)
        yield from _report_minority(
            "colour", deviating, len(images), "share of images like it", fraction, count / len(images), why
        )


def _report_minority(
    kind: FindingKind,
    deviating: Sequence[ImageMeasurements],
    total: int,
    measure: str,
    value: float,
    threshold: float,
    why: str,
) -> Iterator[Finding]:
    """Yields a finding per deviating image, or one finding for all if they are numerous enough for a second format."""
    if len(deviating) <= max(MAX_LISTED, MAX_LISTED_FRACTION * total):
        for each in deviating:
            yield _create_finding(
                kind, each, measure, value, threshold, f"it has {why}" if kind == "size" else f"it is {why}"
            )
        return
    first, *rest = deviating
    text = f"{len(deviating)} images {'have' if kind == 'size' else 'are'} {why}"
    finding = _create_finding(kind, first, measure, value, threshold, text)
    yield msgspec.structs.replace(finding, others=tuple(each.path for each in rest))
