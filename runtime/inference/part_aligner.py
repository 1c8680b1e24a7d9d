"""Alignment of a part: how a part lies in a frame, compared with a reference image.

Both images become gray, small (the longer side has REFERENCE_SIDE pixels), and locally normalized: their local mean is
subtracted and the rest is divided by the local contrast, so that brightness, contrast and slow shading do not matter.

1. Coarse search: the reference, rotated and scaled in steps, is correlated with the frame at all shifts at once, by
   the Fourier transform.
2. Refinement: the best candidates are refined by the enhanced correlation coefficient (Evangelidis and Psarakis,
   "Parametric image alignment using enhanced correlation coefficient maximization", 2008; OpenCV's `findTransformECC`).
   OpenCV has no similarity transform, so an affine one is fitted and reduced to its nearest similarity.
3. The candidate with the highest correlation wins. If that is lower than the alignment demands, the part was not found.

A defect lowers the correlation, but hardly moves its maximum, because the rest of the part still fits.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import Alignment
from .affine_transforms import Matrix, Motion, measure_motion, scale_pixels, to_fractions, to_pixels

REFERENCE_SIDE = 128  # pixels of the longer side
COARSE_SIDE = 64  # pixels of the longer side in the coarse search
ANGLE_STEP = 8.0  # degrees between candidates; with 4 to 12 the refinement finds the same poses on three sets
SCALE_STEP = 0.08  # between candidates, of the logarithm of the scale
REFINED_CANDIDATES = 2
USUAL_CORRELATION = 1.6  # multiple of the least correlation from which on no other candidate is tried
MIN_OVERLAP = 0.4  # of the reference that must lie in the frame
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)  # of the refinement
_BLUR = 5  # pixels of the refinement's Gaussian filter
_ROUNDING = 1e-3  # of a limit
_GAIN = 0.005  # of the correlation by which a candidate must beat the unmoved reference
_MOTIONS = {"translation": cv2.MOTION_TRANSLATION, "rigid": cv2.MOTION_EUCLIDEAN, "similarity": cv2.MOTION_AFFINE}

IDENTITY: Matrix = np.eye(2, 3, dtype=np.float32)


class Placement(NamedTuple):
    """Where the reference lies in a frame."""

    matrix: Matrix
    """Maps fractions of the reference's width and height (0…1 from the top left) to fractions of the frame's."""
    correlation: float
    """Of the aligned frame with the reference, -1…1."""
    found: bool
    """Whether the correlation is as high as the alignment demands."""


class PartAligner:
    """Aligns frames to a reference.

    Args:
        settings: kind and limits of the motion, and the least correlation
        reference: the reference image, H x W x 3, uint8, blue-green-red
    """

    def __init__(self, settings: Alignment, reference: NDArray[Any]) -> None:
        self.settings = settings
        self.size = comparison_size(reference)
        """Width and height at which images are compared, in pixels."""
        self.reference = normalize(reference, self.size)
        coarse = self._shrink(self.reference)
        self._coarse_size = coarse.shape[1], coarse.shape[0]
        self._spectrum_size = tuple(cv2.getOptimalDFTSize(2 * side) for side in coarse.shape)
        self._candidates = [
            (matrix, self._spectrum(cv2.warpAffine(coarse, matrix, self._coarse_size, borderMode=cv2.BORDER_REPLICATE)))
            for matrix in _candidate_matrices(settings, self._coarse_size)
        ]

    def locate(self, image: NDArray[Any]) -> Placement:
        """Finds the reference in an image, H x W x 3, uint8, blue-green-red."""
        frame = normalize(image, self.size)
        best, matrix = self.correlate(frame, IDENTITY), IDENTITY
        for start in (*self._search(frame), IDENTITY):
            candidate = self._refine(frame, start)
            correlation = self.correlate(frame, candidate)
            if correlation > best + (_GAIN if matrix is IDENTITY else 0.0):
                best, matrix = correlation, candidate
            if best >= USUAL_CORRELATION * self.settings.correlation > 0:
                break
        found = best >= self.settings.correlation and self._is_within_limits(matrix)
        return Placement(to_fractions(matrix, self.size), best, found)

    def correlate(self, frame: NDArray[Any], matrix: Matrix) -> float:
        """Correlation of the reference with a normalized frame under a transform, over the pixels in the frame."""
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        inside = cv2.warpAffine(np.ones_like(frame), matrix, self.size, flags=flags) > 0.99
        if inside.mean() < MIN_OVERLAP:
            return -1.0
        aligned = cv2.warpAffine(frame, matrix, self.size, flags=flags)[inside]
        reference = self.reference[inside]
        aligned, reference = aligned - aligned.mean(), reference - reference.mean()
        return float(aligned @ reference / (np.linalg.norm(aligned) * np.linalg.norm(reference) + 1e-9))

    def measure_disagreement(self, image: NDArray[Any], placement: Placement) -> float:
        """How far apart two halves of the aligned part, left and right or top and bottom, still want to move, as a
        fraction of the side. The halves of one rigid part agree; those of different parts or of a texture do not.

        Args:
            image: H x W x 3, uint8, blue-green-red
            placement: of the reference in the image
        """
        matrix = to_pixels(placement.matrix, self.size)
        flags, border = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
        aligned = cv2.warpAffine(normalize(image, self.size), matrix, self.size, flags=flags, borderMode=border)
        largest = 0.0
        for axis in (0, 1):
            shifts = []
            for half in np.array_split(np.arange(aligned.shape[axis]), 2):
                mask = np.zeros(aligned.shape, np.uint8)
                mask[(slice(None),) * axis + (half,)] = 255
                shifts.append(self._refine(aligned, IDENTITY, cv2.MOTION_TRANSLATION, mask)[:, 2])
            largest = max(largest, float((np.abs(shifts[0] - shifts[1]) / self.size).max()))
        return largest

    def _search(self, frame: NDArray[Any]) -> list[Matrix]:
        """The best candidates of the coarse search, as transforms from the reference to the frame."""
        spectrum, (width, height) = self._spectrum(self._shrink(frame)), self._coarse_size
        # Two pixels more than the limit: the refinement may move back.
        right, down = (int(side * self.settings.shift) + 2 for side in (width, height))
        ranked = []
        for matrix, candidate in self._candidates:
            product = cv2.mulSpectrums(spectrum, candidate, 0, conjB=True)
            correlations = cv2.idft(product, flags=cv2.DFT_REAL_OUTPUT | cv2.DFT_SCALE)
            window = np.roll(correlations, (down, right), (0, 1))[: 2 * down + 1, : 2 * right + 1]
            y, x = np.unravel_index(int(window.argmax()), window.shape)
            shift = float(x) - right, float(y) - down
            overlap = (1 - abs(shift[0]) / width) * (1 - abs(shift[1]) / height)
            moved = matrix.copy()
            moved[:, 2] += shift
            ranked.append((float(window[y, x]) / np.sqrt(max(overlap, MIN_OVERLAP)), moved))
        ranked.sort(key=lambda pair: -pair[0])
        factor = self.size[0] / width
        return [scale_pixels(matrix, factor) for _, matrix in ranked[:REFINED_CANDIDATES]]

    def _refine(
        self, frame: NDArray[Any], start: Matrix, motion: int | None = None, mask: NDArray[Any] | None = None
    ) -> Matrix:
        """The refined transform.

        Args:
            frame: the normalized frame
            start: transform from the reference to the frame
            motion: OpenCV's kind of motion; None: as in the settings
            mask: the pixels of the frame that count, uint8, 0 or 255; None: all
        """
        motion = _MOTIONS[self.settings.motion] if motion is None else motion
        mask = np.full(frame.shape, 255, np.uint8) if mask is None else mask
        try:
            found = cv2.findTransformECC(
                self.reference, frame, start.astype(np.float32), motion, _CRITERIA, mask, _BLUR
            )[1]
        except cv2.error:  # it did not converge
            return start
        matrix = np.asarray(found, np.float32)
        if motion == cv2.MOTION_AFFINE:
            center = np.array(self.size) / 2
            fixed = matrix[:, :2] @ center + matrix[:, 2]
            cosine, sine = (matrix[0, 0] + matrix[1, 1]) / 2, (matrix[1, 0] - matrix[0, 1]) / 2
            linear = np.array([[cosine, -sine], [sine, cosine]])
            matrix = np.hstack([linear, (fixed - linear @ center)[:, None]]).astype(np.float32)
        return matrix

    def _is_within_limits(self, matrix: Matrix) -> bool:
        moved = measure_motion(to_fractions(matrix, self.size), self.size[0] / self.size[1])
        limits = Motion(self.settings.shift, self.settings.angle, self.settings.scale)
        return all(each <= limit + _ROUNDING for each, limit in zip(moved, limits, strict=True))

    def _shrink(self, image: NDArray[Any]) -> NDArray[Any]:
        factor = COARSE_SIDE / REFERENCE_SIDE
        return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)

    def _spectrum(self, image: NDArray[Any]) -> NDArray[Any]:
        """Fourier transform of an image without its mean, of norm 1, padded so that shifts do not wrap around."""
        centered = image - image.mean()
        centered /= np.linalg.norm(centered) + 1e-9
        padded = np.zeros(self._spectrum_size, np.float32)
        padded[: image.shape[0], : image.shape[1]] = centered
        return cv2.dft(padded)


def comparison_size(reference: NDArray[Any]) -> tuple[int, int]:
    """Width and height at which images are compared with a reference of H x W x 3: its aspect ratio, in pixels."""
    height, width = reference.shape[:2]
    factor = REFERENCE_SIDE / max(height, width)
    return max(1, round(width * factor)), max(1, round(height * factor))


def normalize(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """An image at the size of the comparison, locally normalized; float32, H x W.

    Args:
        image: H x W x 3, uint8, blue-green-red, of any size
        size: width and height of the comparison
    """
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
    detail = gray - _local_mean(gray)
    contrast = np.sqrt(_local_mean(detail * detail))
    # The constant keeps the noise of plain areas from being amplified.
    return np.asarray(detail / (contrast + 0.05 * detail.std() + 0.02 * gray.mean() + 1e-3), np.float32)


def _local_mean(image: NDArray[Any]) -> NDArray[Any]:
    """Mean over a Gaussian of an eighth of REFERENCE_SIDE, computed at a quarter of the resolution; float32."""
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), REFERENCE_SIDE / 32)
    return np.asarray(cv2.resize(blurred, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR))


def _candidate_matrices(settings: Alignment, size: tuple[int, int]) -> list[Matrix]:
    """Rotations and scalings about the center of images of this width and height, in pixels."""
    angles = _steps(settings.angle if settings.motion != "translation" else 0.0, ANGLE_STEP)
    scales = np.exp(_steps(settings.scale if settings.motion == "similarity" else 0.0, SCALE_STEP))
    center = (size[0] - 1) / 2, (size[1] - 1) / 2
    return [cv2.getRotationMatrix2D(center, angle, scale) for angle, scale in itertools.product(angles, scales)]


def _steps(limit: float, step: float) -> NDArray[Any]:
    count = int(np.ceil(limit / step - 0.5))
    return np.arange(-count, count + 1) * step
