"""One part in several pictures: under another exposure, lamp or focus, shifted, or pictured again later.

Such pictures differ in every pixel, so hashes and correlations miss them, and a random split then tests a model with
parts that it was fitted to. On magnetic tiles, each in up to six exposures, that flattered the AUROC by 0.10.

Two pictures of one part agree in many keypoints (SIFT: Lowe, "Distinctive Image Features from Scale-Invariant
Keypoints", 2004; compared as in Arandjelovic and Zisserman, "Three things everyone should know to improve object
retrieval", 2012) that are displaced alike. Parts of one design agree in many keypoints too: busbars, threads, a
background. So the number that is needed is relative to the set: the numbers of agreeing keypoints of random pairs have
an exponential tail, and a pair is reported only beyond the number at which EXPECTED_FALSE_PAIRS of all compared pairs
would lie by chance. The tail is estimated from the median and the 90th percentile, so up to a tenth of the random pairs
may be of one part. Where all pictures agree in most keypoints, nothing is reported.

Each picture is compared with its CANDIDATES nearest neighbors in NEIGHBOR_DIMENSIONS principal components of the
detail of the picture. The check does not find parts that are turned by more than about 3 degrees or scaled by more than
6 %. Parts with the same blemish, such as wafers cut from one crystal, count as one part: for a split that is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..groups import merge_groups
from .findings import Finding
from .image_checks import ImageMeasurements
from .keypoints import Keypoints

MIN_IMAGES = 20  # fewer images do not show how much random pairs agree
MIN_AGREEING = 20  # keypoints; of 63 different biscuits, one pair agrees in 15
EXPECTED_FALSE_PAIRS = 1e-4  # by the tail of random pairs; nearest neighbors agree a little more than these
CANDIDATES = 6
NEIGHBOR_DIMENSIONS = 64
RANDOM_PAIRS = 2000
MAX_PART_SHARE = 0.2
_FITTED_IMAGES = 2000  # images that the principal components are fitted to, at most
_BLOCK_ROWS = 512
_MIN_SIMILARITY = 0.8  # of two descriptors, 0 to 1
_MAX_SIZE_RATIO = 1.5  # between the sizes of two keypoints
_MAX_TURN = 25.0  # degrees between the orientations of two keypoints
_DISPLACEMENT_PIXELS = 3.0  # tolerance of a displacement, in pixels of the described picture
_DISPLACEMENT_SHARE = 0.06  # and as a share of the distance between two keypoints

Pair = tuple[int, int]


class RepeatedPairs(NamedTuple):
    """Pairs of pictures of one part."""

    agreeing: dict[Pair, int]
    """The number of agreeing keypoints of each pair of indices, the smaller index first."""
    threshold: float
    """The number that was needed."""


def find_repeated_parts(images: Sequence[ImageMeasurements], groups: Mapping[Path, str]) -> list[Finding]:
    """Returns one finding for each part whose pictures lie in different groups: the first picture, and the others.

    Args:
        images: measurements of distinct images
        groups: group of each image; pictures of one group are not reported
    """
    pairs = find_repeated_pairs(images)
    names = {each.path: str(number) for number, each in enumerate(images)}
    parts = merge_groups(names, [(images[first].path, images[second].path) for first, second in pairs.agreeing])
    members: dict[str, list[int]] = {}
    for number, each in enumerate(images):
        members.setdefault(parts[each.path], []).append(number)
    least: dict[str, int] = {}
    for (first, _), count in pairs.agreeing.items():
        part = parts[images[first].path]
        least[part] = min(count, least.get(part, count))
    return [
        Finding(
            kind="same_part",
            file=images[numbers[0]].path,
            label=images[numbers[0]].label,
            measure="keypoints that agree",
            value=least[part],
            threshold=round(pairs.threshold, 1),
            why=f"the same part is in {len(numbers) - 1} other pictures",
            others=tuple(images[number].path for number in numbers[1:]),
        )
        for part, numbers in members.items()
        if len({groups[images[number].path] for number in numbers}) > 1
    ]


def pairs_to_join(findings: Sequence[Finding], groups: Mapping[Path, str]) -> tuple[tuple[Path, Path], ...]:
    """Returns the pairs of pictures that a split keeps together.

    Groups that a rule makes are not joined: where one part is in two of them, the finding says so. A part with more
    than MAX_PART_SHARE of the pictures is not joined either, for it may be a scene that changes slowly.

    Args:
        findings: from `find_repeated_parts`
        groups: group of each image by the rule of the goal; an image that the rule does not cover is alone in its group
    """
    sizes = Counter(groups.values())
    pairs: list[tuple[Path, Path]] = []
    for each in findings:
        pictures = [path for path in (each.file, *each.others) if sizes[groups[path]] == 1]
        if len(pictures) <= MAX_PART_SHARE * len(groups):
            pairs += pairwise(pictures)
    return tuple(pairs)


def find_repeated_pairs(images: Sequence[ImageMeasurements]) -> RepeatedPairs:
    """Returns the pairs of pictures that show one part; none for fewer than MIN_IMAGES."""
    count = len(images)
    if count < MIN_IMAGES:
        return RepeatedPairs({}, float(MIN_AGREEING))
    candidates = sorted(_nearest_pairs([each.detail for each in images]))
    rng = np.random.default_rng(0)
    random_pairs = {
        (int(min(pair)), int(max(pair))) for pair in rng.integers(count, size=(RANDOM_PAIRS, 2)) if pair[0] != pair[1]
    }
    by_chance = [_agreeing_of(images, pair) for pair in sorted(random_pairs)]
    threshold = _needed_keypoints(by_chance, len(candidates))
    agreeing = {pair: _agreeing_of(images, pair) for pair in candidates}
    return RepeatedPairs({pair: number for pair, number in agreeing.items() if number >= threshold}, threshold)


def _needed_keypoints(by_chance: Sequence[int], compared: int) -> float:
    """The number of keypoints that EXPECTED_FALSE_PAIRS of the compared pairs have by chance."""
    median, high = np.quantile(by_chance, [0.5, 0.9])
    scale = max(high - median, 1) / np.log(0.5 / 0.1)
    return max(float(MIN_AGREEING), float(median + scale * np.log(0.5 * compared / EXPECTED_FALSE_PAIRS)))


def _agreeing_of(images: Sequence[ImageMeasurements], pair: Pair) -> int:
    return count_agreeing(images[pair[0]].keypoints, images[pair[1]].keypoints)


def count_agreeing(first: Keypoints, second: Keypoints) -> int:
    """Returns the number of keypoints of the first picture that the second has too, displaced alike."""
    if not len(first.places) or not len(second.places):
        return 0
    similarity = first.unit_descriptors() @ second.unit_descriptors().T
    partner = similarity.argmax(axis=1)
    own = np.arange(len(partner))
    turn = (first.angles - second.angles[partner] + 180) % 360 - 180
    ratio = np.abs(np.log(first.sizes / second.sizes[partner]))
    matched = similarity.argmax(axis=0)[partner] == own
    matched &= similarity[own, partner] > _MIN_SIMILARITY
    matched &= (np.abs(turn) < _MAX_TURN) & (ratio < np.log(_MAX_SIZE_RATIO))
    if not matched.any():
        return 0
    places = first.places[matched]
    displacements = second.places[partner[matched]] - places
    difference = np.abs(displacements[:, None] - displacements[None])
    distance = np.abs(places[:, None] - places[None])
    alike = (difference <= _DISPLACEMENT_PIXELS + _DISPLACEMENT_SHARE * distance).all(axis=2)
    return int(alike.sum(axis=1).max()) - 1


def _nearest_pairs(details: Sequence[NDArray[Any]]) -> set[Pair]:
    """The pairs of each image with its nearest neighbors in normalized detail, each side x side, float32.

    One array of the details of all images is kept, and changed in place: 16 kB an image.
    """
    vectors = np.empty((len(details), details[0].size), np.float32)
    for vector, each in zip(vectors, details, strict=True):
        vector[:] = (each / (np.sqrt(cv2.GaussianBlur(each * each, (0, 0), 6)) + 0.5)).ravel()
    for start in range(0, vectors.shape[1], _BLOCK_ROWS):
        columns = vectors[:, start : start + _BLOCK_ROWS]
        columns -= np.median(columns, axis=0)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        rows = vectors[start : start + _BLOCK_ROWS]
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    fitted = vectors[np.random.default_rng(0).permutation(len(vectors))[:_FITTED_IMAGES]]
    mean = fitted.mean(axis=0)
    _, _, directions = np.linalg.svd(fitted - mean, full_matrices=False)
    vectors -= mean
    projected = vectors @ directions[:NEIGHBOR_DIMENSIONS].T
    projected = (projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-6)).astype(np.float32)
    pairs: set[Pair] = set()
    for start in range(0, len(projected), _BLOCK_ROWS):
        closeness = projected[start : start + _BLOCK_ROWS] @ projected.T
        closeness[np.arange(len(closeness)), start + np.arange(len(closeness))] = -np.inf
        for row, others in enumerate(np.argpartition(-closeness, CANDIDATES, axis=1)[:, :CANDIDATES]):
            number = start + row
            pairs |= {(min(number, other), max(number, other)) for other in others.tolist()}
    return pairs
