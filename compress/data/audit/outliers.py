"""Images unlike the rest of their set in sharpness, exposure, framing, size or colour.

Each is held against its own set, by the median and the median absolute deviation (scaled by 1.4826 to a standard
deviation; Rousseeuw and Croux, "Alternatives to the Median Absolute Deviation", 1993), which a few bad images cannot
move; and it must differ by an amount that matters, however uniform the set is. The set is the label where that has 20
images, else everything.

Where the thing shown varies as much as a fault would, nothing is found: a picture shifted by a quarter among pictures
of things that lie anywhere, a dark one among cells that are dark or bright by nature.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import exp, log
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .findings import Finding, Kind
from .image_checks import Look

FEWEST = 8  # images that have a typical value
_ENOUGH = 20  # images of a label that is held against itself
_FAR = 5.0  # standard deviations

LESS_SHARP = 0.3  # half the power of fine detail
BLURRED = -1.28  # about a natural scene blurred by 3 of 512 pixels; none of 901 solar cells is below -1.26
LEVELS = 40.0  # of 255, that the mean brightness differs by
CLIPPED = 0.25  # share of pixels beyond the set's own
ALIGNED = 0.7  # correlation with the set's median picture, typically, where parts lie alike
MISPLACED = 0.15
SAME_SIZE = 0.8  # share of images of one size that makes it the size to have
ASPECT = log(1.5)
FEW, FEW_SHARE = 5, 0.1  # images of an odd size or colour that are named one by one; more are a second format


def find(looks: Sequence[Look]) -> Iterator[Finding]:
    """The outliers among all images."""
    if len(looks) < FEWEST:
        return
    yield from _sizes(looks)
    yield from _colours(looks)
    for population in populations(looks):
        yield from _blur(population)
        yield from _exposure(population)
        yield from _framing(population)


def populations(looks: Sequence[Look]) -> list[list[Look]]:
    """The images by label, or all in one where a label has too few to be held against itself."""
    labels = Counter(each.label for each in looks)
    if len(labels) == 1 or min(labels.values()) < _ENOUGH:
        return [list(looks)]
    return [[each for each in looks if each.label == label] for label in labels]


def spread(values: NDArray[Any]) -> tuple[float, float]:
    """The median, and the standard deviation that the median absolute deviation stands for."""
    median = float(np.median(values))
    return median, float(1.4826 * np.median(np.abs(values - median)))


def _finding(kind: Kind, each: Look, measure: str, value: float, threshold: float, why: str) -> Finding:
    return Finding(
        kind=kind, file=each.path, label=each.label, measure=measure, value=value, threshold=threshold, why=why
    )


def _blur(looks: Sequence[Look]) -> Iterator[Finding]:
    """Less than half the usual fine detail, and far from the set or as little as a blur by 3 pixels leaves."""
    median, deviation = spread(np.array([each.sharpness for each in looks]))
    limit = min(median - LESS_SHARP, max(median - _FAR * deviation, BLURRED))
    for each in looks:
        if each.sharpness < limit:
            factor = 10 ** (median - each.sharpness)
            why = f"it has {factor:.1f} times less fine detail than the typical image of its set"
            yield _finding("blur", each, "log10 of fine over middle detail", each.sharpness, limit, why)


def _exposure(looks: Sequence[Look]) -> Iterator[Finding]:
    median, deviation = spread(np.array([each.brightness for each in looks]))
    reach = max(_FAR * deviation, LEVELS)
    clipped, varies = spread(np.array([each.clipped for each in looks]))
    limit = clipped + max(_FAR * varies, CLIPPED)
    for each in looks:
        difference = each.brightness - median
        if abs(difference) > reach:
            why = f"it is {'brighter' if difference > 0 else 'darker'} than its set, whose median is {median:.0f}"
            edge = median + reach if difference > 0 else median - reach
            yield _finding("exposure", each, "mean level", each.brightness, edge, why)
        elif each.clipped > limit:
            why = f"{each.clipped:.0%} of its pixels are black or white; in its set {clipped:.0%} are"
            yield _finding("exposure", each, "share of clipped pixels", each.clipped, limit, why)


def _framing(looks: Sequence[Look]) -> Iterator[Finding]:
    """Correlation with the set's median picture, made normal by Fisher's z; only where parts lie alike."""
    pictures = np.stack([each.coarse.ravel() for each in looks])
    pictures = pictures - pictures.mean(axis=1, keepdims=True)
    pictures /= np.maximum(np.linalg.norm(pictures, axis=1, keepdims=True), 1e-6)
    typical = np.median(pictures, axis=0)
    typical /= max(float(np.linalg.norm(typical)), 1e-6)
    correlation = np.clip(pictures @ typical, -0.999, 0.999)
    if float(np.median(correlation)) < ALIGNED:
        return
    median, deviation = spread(np.arctanh(correlation))
    limit = max(float(np.tanh(median - (_FAR + 1) * deviation)), MISPLACED)
    limit = min(limit, float(np.tanh(median)) - LESS_SHARP)
    for each, value in zip(looks, correlation, strict=True):
        if value < limit:
            why = "what it shows lies elsewhere, or is something else, than in the typical image of its set"
            yield _finding("framing", each, "correlation with the median image", float(value), limit, why)


def _sizes(looks: Sequence[Look]) -> Iterator[Finding]:
    sizes = Counter((each.width, each.height) for each in looks)
    usual, count = sizes.most_common(1)[0]
    if count >= SAME_SIZE * len(looks):
        for size in sizes.keys() - {usual}:
            why = f"{size[0]} × {size[1]} pixels, {count} others have {usual[0]} × {usual[1]}"
            share = size[0] * size[1] / (usual[0] * usual[1])
            odd = [each for each in looks if (each.width, each.height) == size]
            yield from _minority("size", odd, len(looks), "pixels as a share of the usual", share, 1.0, why)
        return
    aspects = np.log([each.width / each.height for each in looks])
    median, deviation = spread(aspects)
    reach = max(_FAR * deviation, ASPECT)
    for each, aspect in zip(looks, aspects, strict=True):
        if abs(aspect - median) > reach:
            why = f"{each.width} × {each.height} is a shape unlike that of its set, whose median is {exp(median):.2f}"
            edge = median + reach if aspect > median else median - reach
            yield _finding("size", each, "width over height", exp(aspect), exp(edge), why)


def _colours(looks: Sequence[Look]) -> Iterator[Finding]:
    kinds = Counter(each.encoding for each in looks)
    usual, count = kinds.most_common(1)[0]
    for kind in kinds.keys() - {usual}:
        odd = [each for each in looks if each.encoding == kind]
        why = f"{kind}, {count} others are {usual}"
        share = len(odd) / len(looks)
        yield from _minority("colour", odd, len(looks), "share of images like it", share, count / len(looks), why)


def _minority(
    kind: Kind, odd: Sequence[Look], total: int, measure: str, value: float, threshold: float, why: str
) -> Iterator[Finding]:
    """A finding for each of a few odd images; one for all where so many have it that it is a format of its own."""
    if len(odd) <= max(FEW, FEW_SHARE * total):
        for each in odd:
            yield _finding(kind, each, measure, value, threshold, f"it has {why}" if kind == "size" else f"it is {why}")
        return
    first, *rest = odd
    told = f"{len(odd)} images {'have' if kind == 'size' else 'are'} {why}"
    finding = _finding(kind, first, measure, value, threshold, told)
    yield msgspec.structs.replace(finding, others=tuple(each.path for each in rest))
