"""Search for near copies among all pairs of images, by perceptual hash and residual detail.

Before a camera that does not move, the hashes of all images agree, and every pair must be compared by its detail. So
all conditions are products of matrices, one block of images at a time: no pair costs a step of Python. The number of
near copies can be quadratic too. What is kept of them is linear:

    groups     pairs that connect images which no kept pair connects yet, so the groups are those of all pairs, also
               among the images of one label
    similar    of each image, its MAX_OTHERS most similar near copies under each label, so that a copy of a defective
               image is found as such

The residual is what a picture has beyond the median of the set. Where parts lie differently from picture to picture,
the median is not what they share: two parts of one design that lie alike then have nearly the same edges, and so the
same residual. Their fine detail, each place divided by its contrast, tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_HASH_DISTANCE = (
    14  # bits of 256; in 901 different solar cells, all pairs above MIN_CORRELATION differ by 18 or more
)
MIN_CORRELATION = 0.97
# Correlation of the fine detail that is needed: the 99th percentile of random pairs of the set, and the margin more in
# artanh, but never more than the most (docs/accuracy.md, "Near copies of parts that move").
FINE_MARGIN = 1.1
MAX_NEEDED_FINE = 0.96
MAX_OTHERS = 4  # near copies that are kept for an image under each label; those that connect groups are kept besides
_MIN_IMAGES_FOR_MEDIAN = 10  # a median over fewer images is meaningless
_FINE_SIGMA = 0.7  # pixels; coarser detail is not fine
_CONTRAST_SIGMA = 4.0  # pixels; the neighborhood whose contrast divides the fine detail
_LEAST_CONTRAST = 1.0  # levels; where there is less, it is noise
_RANDOM_PAIRS = 1000
_BLOCK_ROWS = 256
_SPARSE_SHARE = 1 / 32  # of the pairs of a block; fewer are faster one by one than as a product of matrices
_SPARSE_PAIRS = 4096  # pairs that are compared at once


def compute_residuals(details: NDArray[Any]) -> NDArray[Any]:
    """Returns the details minus their median over the set, as unit vectors, or zeros for an image without detail.

    Args:
        details: one row per image; with at least _MIN_IMAGES_FOR_MEDIAN images, their median is subtracted
    """
    if len(details) >= _MIN_IMAGES_FOR_MEDIAN:
        details = details - np.median(details, axis=0)
    length = np.linalg.norm(details, axis=1, keepdims=True)
    return np.asarray(details * np.where(length > 1.0, 1 / np.maximum(length, 1e-6), 0.0).astype(details.dtype))


class FineDetails:
    """The fine detail of images as unit vectors, computed when it is needed: most images resemble no other one."""

    def __init__(self, details: Sequence[NDArray[Any]]) -> None:
        """Takes the detail of each image, side x side, float32."""
        self._details = details
        self._vectors = np.empty((len(details), details[0].size), np.float32)  # takes memory as it is written
        self._is_known = np.zeros(len(details), bool)

    def needed_correlation(self) -> float:
        """Returns the correlation that two near copies need at least."""
        pairs = np.random.default_rng(0).integers(len(self._details), size=(_RANDOM_PAIRS, 2))
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        vectors = self.vectors(np.unique(pairs))
        by_chance = np.quantile(np.einsum("ij,ij->i", vectors[pairs[:, 0]], vectors[pairs[:, 1]]), 0.99)
        return min(MAX_NEEDED_FINE, float(np.tanh(np.arctanh(min(by_chance, MAX_NEEDED_FINE)) + FINE_MARGIN)))

    def vectors(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Returns all vectors, of which those of these images are set."""
        for number in numbers[~self._is_known[numbers]].tolist():
            detail = self._details[number]
            fine = detail - cv2.GaussianBlur(detail, (0, 0), _FINE_SIGMA)
            fine /= np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), _CONTRAST_SIGMA)) + _LEAST_CONTRAST
            fine -= fine.mean()
            self._vectors[number] = fine.ravel() / max(float(np.linalg.norm(fine)), 1e-6)
        self._is_known[numbers] = True
        return self._vectors


def find_near_copies(
    hashes: NDArray[Any], residuals: NDArray[Any], labels: NDArray[Any], fine: FineDetails | None = None
) -> dict[int, tuple[int, list[int]]]:
    """Finds the images that are near copies of earlier ones.

    Args:
        hashes: N x bits, bool
        residuals: N x values, from `compute_residuals`
        labels: N numbers, one per label
        fine: fine detail of the images; None: hashes and residuals decide

    Returns:
        Index of an image -> the smallest number of differing bits to an earlier near copy, and earlier near copies.
    """
    count = len(hashes)
    signs = hashes.astype(np.float32) * 2 - 1
    overall, within_labels = np.arange(count), np.arange(count)  # the component of each image
    fewest = np.full(count, hashes.shape[1])
    kept: dict[int, set[int]] = {}
    needed: float | None = None
    for start in range(0, count, _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, count))
        bits = (signs.shape[1] - signs[rows] @ signs.T) / 2
        # Earlier images, and those of another label: a good image keeps its most similar defective ones.
        numbers = np.arange(start, rows.stop)[:, None]
        candidates = (bits <= MAX_HASH_DISTANCE) & (
            (np.arange(count) < numbers) | (labels[rows, None] != labels[None, :])
        )
        if not candidates.any():
            continue
        correlation = _correlations(residuals, start, candidates)
        candidates = correlation >= MIN_CORRELATION
        if fine is not None and candidates.any():
            near = np.concatenate(
                [start + np.flatnonzero(candidates.any(axis=1)), np.flatnonzero(candidates.any(axis=0))]
            )
            needed = fine.needed_correlation() if needed is None else needed
            correlation[_correlations(fine.vectors(np.unique(near)), start, candidates) < needed] = -1.0
        for row in np.flatnonzero((correlation >= MIN_CORRELATION).any(axis=1)).tolist():
            number = start + row
            near = np.flatnonzero(correlation[row] >= MIN_CORRELATION)
            earlier = near[near < number]
            if len(earlier):
                fewest[number] = bits[row, earlier].min()
            chosen = _connect(within_labels, number, earlier[labels[earlier] == labels[number]])
            _connect(overall, number, np.array(chosen, np.int64))
            chosen += _connect(overall, number, earlier)
            for label in np.unique(labels[near]).tolist():
                same = near[labels[near] == label]
                chosen += same[np.argsort(-correlation[row, same], kind="stable")[:MAX_OTHERS]].tolist()
            for other in chosen:
                kept.setdefault(max(number, other), set()).add(min(number, other))
    return {number: (int(fewest[number]), sorted(others)) for number, others in kept.items()}


def _correlations(residuals: NDArray[Any], start: int, candidates: NDArray[Any]) -> NDArray[Any]:
    """Returns the correlations of a block of images with all images, rows x N; -1 where a pair is no candidate."""
    correlation = np.full(candidates.shape, -1.0, np.float32)
    rows, columns = np.flatnonzero(candidates.any(axis=1)), np.flatnonzero(candidates.any(axis=0))
    if candidates.sum() < _SPARSE_SHARE * len(rows) * len(columns):
        pairs = np.argwhere(candidates)
        for first in range(0, len(pairs), _SPARSE_PAIRS):
            row, column = pairs[first : first + _SPARSE_PAIRS].T
            correlation[row, column] = np.einsum("ij,ij->i", residuals[start + row], residuals[column])
        return correlation
    product = residuals[start + rows] @ residuals[columns].T
    block = np.ix_(rows, columns)
    correlation[block] = np.where(candidates[block], product, -1.0)
    return correlation


def _connect(components: NDArray[Any], number: int, others: NDArray[Any]) -> list[int]:
    """Joins the component of `number` with those of `others`; returns one of the others for each that it joins."""
    joined: list[int] = []
    while len(others) and (apart := components[others] != components[number]).any():
        other = int(others[int(apart.argmax())])
        components[components == components[other]] = components[number]
        joined.append(other)
    return joined
