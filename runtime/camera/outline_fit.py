"""The fit of a picture to the outlines of a reference, by robust least squares.

Lucas and Kanade's method in its inverse compositional form (Baker and Matthews, "Lucas-Kanade 20 years on", 2004): only
the strongest outlines of the reference count, a few in each cell, and Tukey's weights leave out those that people and
cars cover. What a turn of the camera does to a picture is a homography; a similarity has half of its parameters and
settles where a homography does not.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Model = Literal["similarity", "homography"]
Matrix = NDArray[np.float64]
"""3 x 3: maps places of the reference to places of the picture. Places are counted from the middle, in halves of the
longer side."""

_CELL = 32  # pixels
_POINTS_PER_CELL = 60
_LEAST_GRADIENT = 0.08  # of the normalized picture, per pixel
_LEAST_POINTS = 100
_ITERATIONS = 12
_SETTLED = 1e-4  # of the parameters' steps
_MARGIN = 4  # pixels between points and the edge of what is visible
_RIDGE = {"similarity": np.full(4, 1e-3), "homography": np.array([1e-3] * 6 + [1.0] * 2)}


class Fit(NamedTuple):
    """A motion, and how well the picture determines it."""

    matrix: Matrix
    covariance: NDArray[np.float64]
    """Of the parameters, for neighboring pixels that are independent; they are not."""


class Outlines:
    """The outlines of a reference at one level of detail.

    Args:
        normal: the reference, H x W, float32, normalized
        visible: H x W, float32: 1 for the pixels that count
    """

    def __init__(self, normal: NDArray[Any], visible: NDArray[Any]) -> None:
        height, width = normal.shape
        self.half, self.middle = max(height, width) / 2, np.array((width - 1, height - 1)) / 2
        self.visible = visible > 0.5
        right, down = (cv2.Scharr(normal, cv2.CV_32F, *order) / 32 for order in ((1, 0), (0, 1)))
        places = _find_strongest(np.hypot(right, down), visible)
        self.values = normal[places[:, 1], places[:, 0]].astype(np.float64)
        self.places = self.to_places(places)
        x, y = self.places.T
        gx, gy = (each[places[:, 1], places[:, 0]] * self.half for each in (right, down))
        self.jacobians = {
            "similarity": np.stack([gx * x + gy * y, gy * x - gx * y, gx, gy], axis=1),
            "homography": np.stack(
                [gx * x, gx * y, gx, gy * x, gy * y, gy, -x * (gx * x + gy * y), -y * (gx * x + gy * y)], axis=1
            ),
        }

    def __len__(self) -> int:
        return len(self.values)

    def to_places(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Pixels, N x 2, as places."""
        return np.asarray((pixels - self.middle) / self.half, np.float64)

    def fit(self, normal: NDArray[Any], start: Matrix, model: Model) -> Fit | None:
        """The motion of a normalized picture, from one nearby; None: too little of the reference is in the picture."""
        matrix, jacobian = start, self.jacobians[model]
        for _ in range(_ITERATIONS):
            pixels = move(matrix, self.places) * self.half + self.middle
            inside = self._find_visible(pixels)
            if np.count_nonzero(inside) < _LEAST_POINTS:
                return None
            right, down = pixels[inside].astype(np.float32).T[:, None]
            seen = cv2.remap(normal, np.ascontiguousarray(right), np.ascontiguousarray(down), cv2.INTER_LINEAR)[0]
            error = seen - self.values[inside]
            scale = 1.4826 * float(np.median(np.abs(error))) + 1e-3
            weighted = jacobian[inside] * (np.clip(1 - (error / (3 * scale)) ** 2, 0, None) ** 2)[:, None]
            information = weighted.T @ jacobian[inside] + np.diag(_RIDGE[model])
            step = np.linalg.solve(information, weighted.T @ error)
            matrix = matrix @ np.linalg.inv(_as_matrix(step))
            matrix = matrix / matrix[2, 2]
            if not np.isfinite(matrix).all():
                return None
            if np.abs(step).max() < _SETTLED:
                break
        return Fit(matrix, scale**2 * np.linalg.inv(information))

    def _find_visible(self, pixels: NDArray[np.float64]) -> NDArray[np.bool_]:
        height, width = self.visible.shape
        inside = np.asarray(((pixels >= 1) & (pixels <= np.array((width, height)) - 2)).all(axis=1))
        nearest = np.where(inside[:, None], pixels, 0).round().astype(int)
        return np.asarray(inside & self.visible[nearest[:, 1], nearest[:, 0]])


def move(matrix: Matrix, places: NDArray[Any]) -> NDArray[np.float64]:
    """Places of the reference, N x 2, as places of the picture."""
    moved = places @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(moved[:, :2] / np.maximum(moved[:, 2:], 1e-6))


def measure_spread(covariance: NDArray[np.float64], places: NDArray[Any]) -> NDArray[np.float64]:
    """The standard deviation of the motion at N places, from the covariance of its parameters; N."""
    x, y = places.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    columns = {
        4: ([x, -y, one, zero], [y, x, zero, one]),
        8: ([x, y, one, zero, zero, zero, -x * x, -x * y], [zero, zero, zero, x, y, one, -x * y, -y * y]),
    }[len(covariance)]
    rows = [np.stack(each, axis=1) for each in columns]
    return np.asarray(np.sqrt(sum(np.einsum("ni,ij,nj->n", row, covariance, row) for row in rows)))


def _as_matrix(parameters: NDArray[np.float64]) -> Matrix:
    if len(parameters) == 4:
        a, b, right, down = parameters
        return np.array([[1 + a, -b, right], [b, 1 + a, down], [0, 0, 1]])
    return np.append(parameters, 0.0).reshape(3, 3) + np.eye(3)


def _find_strongest(gradient: NDArray[Any], visible: NDArray[Any]) -> NDArray[np.int64]:
    """The pixels with the strongest gradient in each cell: N x 2, x and y."""
    kernel = np.ones((2 * _MARGIN + 1,) * 2, np.uint8)
    inner = cv2.erode(visible, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    gradient = np.where(inner > 0.5, gradient, 0)
    found = []
    for top in range(0, gradient.shape[0], _CELL):
        for left in range(0, gradient.shape[1], _CELL):
            cell = gradient[top : top + _CELL, left : left + _CELL]
            y, x = np.unravel_index(np.argsort(cell, axis=None)[::-1][:_POINTS_PER_CELL], cell.shape)
            strong = cell[y, x] > _LEAST_GRADIENT
            found.append(np.stack([x[strong] + left, y[strong] + top], axis=1))
    return np.concatenate(found)
