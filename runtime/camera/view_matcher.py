"""Where the view of a camera lies now, compared with the view for which its privacy zones were drawn.

Both pictures become gray, SIDE pixels wide or high, and locally normalized: the local mean is subtracted and the rest
is divided by the local contrast, so that light, day and night matter little. What privacy zones cover takes no part, in
either picture.

Candidates of the motion are: none; that of the picture before; the shift at which the directions of the outlines agree
most (a Fourier transform); and a similarity of SIFT keypoints by RANSAC. Each is refined (outline_fit.py). The one wins
by which the cells that have outlines look most alike; if fewer than MIN_SHARE of them do, the view is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .outline_fit import Matrix, Model, Outlines, move

SIDE = 320  # pixels of the longer side
MIN_SHARE = 0.3  # of the cells that must look alike
_SURE_SHARE = 0.6  # from which on no other candidate is tried if nothing has moved
_GAIN = 0.02  # by which a later candidate must be better
STILL = 1.6  # pixels, half a percent of the side: zones that moved by less have not moved
_ALIKE = 0.4  # correlation of a cell
_CELL = 32  # pixels
_CELL_ENERGY = 0.05  # of the normalized picture: a cell has outlines
_MIN_CELLS = 4
_MIN_OUTLINES = 200
_SMOOTHING = (2.5, 1.0)  # pixels, from coarse to fine
_WINDOW = (17, 17)
_EDGE_STEP = 4  # pixels between the places of an edge that are looked at
_KEYPOINTS, _RATIO, _MIN_MATCHES = 500, 0.8, 6
_IDENTITY = np.eye(3)

Gray = NDArray[Any]


class ViewMotion(NamedTuple):
    """How the view has moved since the reference was taken."""

    matrix: Matrix
    covariance: NDArray[np.float64]
    """Of its parameters (outline_fit.py)."""
    share: float
    """Of the cells with outlines that look alike after it."""
    score: float
    """Sum of the correlations of the cells that look alike, over the number of all cells with outlines."""
    simple: Matrix
    """The motion as a similarity."""


class ViewMatcher:
    """Finds the view of a reference in pictures of the same camera.

    Args:
        reference: H x W, uint8, as `shrink` gives it
        hidden: H x W, bool: pixels that privacy zones cover, in the reference and in every picture
    """

    def __init__(self, reference: Gray, hidden: Gray) -> None:
        self.reference, self.hidden = reference, hidden.astype(np.uint8)
        self.size = reference.shape[1], reference.shape[0]
        contours, _ = cv2.findContours(self.hidden, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        self.edges = np.concatenate(contours)[::_EDGE_STEP, 0].astype(np.float64)
        """Pixels on the edges of the zones: N x 2."""
        self.visible = 1 - cv2.dilate(self.hidden, np.ones((7, 7), np.uint8)).astype(np.float32)
        levels = [normalize(reference, self.visible, each) for each in _SMOOTHING]
        self.levels = [Outlines(each, self.visible) for each in levels]
        self.normal, fine = levels[-1], self.levels[-1]
        self.to_pixels = np.array([[fine.half, 0, fine.middle[0]], [0, fine.half, fine.middle[1]], [0, 0, 1]])
        """From places to pixels."""
        self.cells = (self._average(self.normal**2) > _CELL_ENERGY) & (self._average(self.visible) > 0.5)
        self.directions = _transform_directions(self.normal, self.visible)
        self.keypoints = _find_keypoints(reference, self.visible)

    @property
    def is_usable(self) -> bool:
        """Whether the reference has enough outlines outside of the privacy zones."""
        enough = all(len(each) >= _MIN_OUTLINES for each in self.levels)
        return enough and int(self.cells.sum()) >= 2 * _MIN_CELLS

    def locate(self, picture: Gray, before: Matrix | None = None) -> ViewMotion | None:
        """The motion of the view in a picture of the reference's size; None: the view is lost.

        Args:
            picture: H x W, uint8, as `shrink` gives it
            before: the motion of the picture before
        """
        levels = [normalize(picture, self.visible, each) for each in _SMOOTHING]
        best: ViewMotion | None = None
        for start in self._list_candidates(picture, levels[-1], before):
            found = self._refine(levels, start)
            if found is not None and (best is None or found.score > best.score + _GAIN):
                best = found
            if found is not None and found.share >= _SURE_SHARE and self.measure_shift(found.matrix, start) <= STILL:
                break  # nothing has moved, or nothing more
        return best if best is not None and best.share >= MIN_SHARE else None

    def measure_shift(self, motion: Matrix, other: Matrix = _IDENTITY) -> float:
        """How far apart two motions put the edges of the privacy zones at most, in pixels."""
        places = self.levels[-1].to_places(self.edges)
        right, down = (move(motion, places) - move(other, places)).T
        return float(np.hypot(right, down).max() * self.levels[-1].half)

    def _refine(self, levels: list[Gray], start: Matrix) -> ViewMotion | None:
        """The motion near another one; a homography if the view has moved and it fits better than a similarity."""
        simple = self._fit(levels, start, "similarity")
        if simple is None or simple.share < MIN_SHARE or self.measure_shift(simple.matrix) <= STILL:
            return simple
        turned = self._fit(levels, simple.matrix, "homography")
        return simple if turned is None or turned.score < simple.score else turned._replace(simple=simple.matrix)

    def _fit(self, levels: list[Gray], start: Matrix, model: Model) -> ViewMotion | None:
        (rough, fine), (rough_picture, picture) = self.levels, levels
        if (fit := rough.fit(rough_picture, start, model)) is None:
            return None
        if (fit := fine.fit(picture, fit.matrix, model)) is None:
            return None
        return ViewMotion(*fit, *self._measure_agreement(picture, fit.matrix), simple=fit.matrix)

    def _measure_agreement(self, picture: Gray, matrix: Matrix) -> tuple[float, float]:
        """The share of the cells with outlines that look alike, and the score."""
        pixels = self.to_pixels @ matrix @ np.linalg.inv(self.to_pixels)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpPerspective(self.visible, pixels, self.size, flags=flags) * self.visible
        moved, mine = cv2.warpPerspective(picture, pixels, self.size, flags=flags) * seen, self.normal * seen
        product, one, other = (self._average(each) for each in (moved * mine, moved * moved, mine * mine))
        counted = self.cells & (self._average(seen) > 0.3)
        correlation = product / np.sqrt(one * other + 1e-6)
        alike, count = counted & (correlation > _ALIKE), max(counted.sum(), self.cells.sum() / 2)
        if alike.sum() < _MIN_CELLS:
            return 0.0, 0.0
        return float(alike.sum() / count), float(correlation[alike].sum() / count)

    def _average(self, image: Gray) -> Gray:
        cells = tuple(max(1, round(side / _CELL)) for side in self.size)
        return cv2.resize(image, cells, interpolation=cv2.INTER_AREA)

    def _list_candidates(self, picture: Gray, normal: Gray, before: Matrix | None) -> Iterator[Matrix]:
        yield _IDENTITY
        if before is not None:
            yield before
        for found in (self._find_shift(normal), self._match_keypoints(picture)):
            if found is not None:
                yield np.linalg.inv(self.to_pixels) @ found @ self.to_pixels

    def _find_shift(self, normal: Gray) -> NDArray[np.float64]:
        """The shift at which the directions of the outlines agree most, in pixels: 3 x 3."""
        product = cv2.mulSpectrums(_transform_directions(normal, self.visible), self.directions, 0, conjB=True)
        agreement = cv2.idft(product, flags=cv2.DFT_SCALE)[..., 0]
        down, right = np.unravel_index(int(agreement.argmax()), agreement.shape)
        height, width = agreement.shape
        matrix = np.eye(3)
        matrix[:2, 2] = (right + width / 2) % width - width / 2, (down + height / 2) % height - height / 2
        return matrix

    def _match_keypoints(self, picture: Gray) -> NDArray[np.float64] | None:
        """The similarity on which keypoints agree, in pixels: 3 x 3; None: too few do."""
        (before, described), (after, found) = self.keypoints, _find_keypoints(picture, self.visible)
        if min(len(before), len(after)) < _MIN_MATCHES:
            return None
        pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(described, found, k=2)
        matches = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < _RATIO * pair[1].distance]
        if len(matches) < _MIN_MATCHES:
            return None
        ends = before[[each.queryIdx for each in matches]], after[[each.trainIdx for each in matches]]
        matrix, kept = cv2.estimateAffinePartial2D(*ends, method=cv2.RANSAC, ransacReprojThreshold=2.0)
        if matrix is None or kept.sum() < _MIN_MATCHES or not 0.5 < np.hypot(*matrix[:, 0]) < 2:
            return None
        return np.vstack([matrix, (0, 0, 1)])


def view_size(height: int, width: int) -> tuple[int, int]:
    """Width and height at which pictures of this size are compared."""
    factor = SIDE / max(height, width)
    return max(1, round(width * factor)), max(1, round(height * factor))


def shrink(pixels: NDArray[Any]) -> Gray:
    """A picture, H x W x 3, uint8, blue-green-red, as it is compared: gray, uint8."""
    small = cv2.resize(pixels, view_size(*pixels.shape[:2]), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)


def normalize(gray: Gray, visible: Gray, smoothing: float) -> Gray:
    """A gray picture without its local mean and contrast, float32; 0 where it is not visible.

    Args:
        gray: H x W, uint8
        visible: H x W, float32: 1 for the pixels that count, else 0
        smoothing: of a Gaussian, pixels
    """
    smooth = cv2.GaussianBlur(gray, (0, 0), smoothing).astype(np.float32)
    weight = cv2.blur(visible, _WINDOW) + 1e-3
    detail = (smooth - cv2.blur(smooth * visible, _WINDOW) / weight) * visible
    contrast = np.sqrt(np.maximum(cv2.blur(detail * detail, _WINDOW), 0) / weight)
    return np.asarray(detail / (contrast + 0.3 * detail.std() + 0.7), np.float32)


def _transform_directions(normal: Gray, visible: Gray) -> Gray:
    """Fourier transform of the directions of the outlines, as complex numbers."""
    right, down = (cv2.Scharr(normal, cv2.CV_32F, *order) / 32 for order in ((1, 0), (0, 1)))
    weight = cv2.erode(visible, np.ones((5, 5), np.uint8)) / (np.hypot(right, down) + 0.1)
    height, width = (cv2.getOptimalDFTSize(side) for side in normal.shape)
    field = np.zeros((height, width, 2), np.float32)
    field[: normal.shape[0], : normal.shape[1]] = np.dstack([right * weight, down * weight])
    return cv2.dft(field, flags=cv2.DFT_COMPLEX_OUTPUT)


def _find_keypoints(gray: Gray, visible: Gray) -> tuple[NDArray[np.float64], Any]:
    even = cv2.createCLAHE(3.0, (8, 8)).apply(gray)
    detector = cv2.SIFT.create(_KEYPOINTS, contrastThreshold=0.03)
    points, described = detector.detectAndCompute(even, (visible > 0.5).astype(np.uint8) * 255)
    return np.array([point.pt for point in points], np.float64).reshape(-1, 2), described
