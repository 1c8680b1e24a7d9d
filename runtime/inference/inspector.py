"""What a model sees of a frame: the aligned part, or a region of it.

The region is a polygon in the aligned frame. Its bounding rectangle becomes the model's input; pixels outside the
polygon are gray. What an aligned frame does not show, because the part lies partly outside the picture, is taken from
the reference image: there the model finds nothing unusual, for nobody knows. If too much of the region is missing, the
part counts as not found.

A frame is first scaled to the resolution of the input (area interpolation), then moved (linear interpolation). So a
large frame costs one pass over its pixels.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..bundle.manifest import Inspection
from ..errors import BundleProblem
from .part_aligner import REFERENCE_SIDE, PartAligner, Placement
from .prediction import Box

OUTSIDE_GRAY = 114  # gray level outside the polygon
MAX_UNSEEN = 0.25  # share of the region that may lie outside the frame
WHOLE = Placement(np.eye(2, 3), 1.0, True)  # of a frame that is not aligned
_LINEAR = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


class Inspector:
    """Cuts what the model sees out of frames.

    Args:
        settings: region and alignment
        reference: the reference image of the alignment, H x W x 3, uint8, blue-green-red; None without alignment
    """

    def __init__(self, settings: Inspection, reference: NDArray[Any] | None = None) -> None:
        self.settings, self.reference = settings, reference
        self.aligner: PartAligner | None = None
        if settings.alignment is not None and reference is not None:
            self.aligner = PartAligner(settings.alignment, reference)
        polygon = np.array(settings.region or [(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
        self._polygon = polygon if settings.region else None
        self._origin, self._extent = polygon.min(axis=0), np.ptp(polygon, axis=0)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Inspector | None:
        """The inspector of a bundle; None if its model sees whole frames.

        Raises:
            BundleProblem: the reference image is missing or cannot be read.
        """
        settings = bundle.manifest.inspect
        if settings is None or (not settings.region and settings.alignment is None):
            return None
        if settings.alignment is None:
            return cls(settings)
        content = bundle.members.get(settings.alignment.reference, b"")
        reference = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
        if reference is None:
            raise BundleProblem(f"{bundle.path}: no reference image of the alignment", hint="build the bundle again")
        return cls(settings, reference)

    def members(self) -> dict[str, bytes]:
        """What a bundle must hold for `from_bundle`: content by member name."""
        if self.settings.alignment is None or self.reference is None:
            return {}
        return {self.settings.alignment.reference: cv2.imencode(".png", self.reference)[1].tobytes()}

    def view(self, image: NDArray[Any], size: tuple[int, int], interpolation: int) -> tuple[NDArray[Any], Placement]:
        """The pixels that the model sees, and where they lie in the image.

        Args:
            image: H x W x 3, uint8, blue-green-red
            size: width and height of the model's input
            interpolation: OpenCV's interpolation for scaling
        """
        work, placement = self._scale(image, size, interpolation), WHOLE
        if self.aligner is not None:
            placement = self.aligner.locate(work if max(work.shape[:2]) >= REFERENCE_SIDE else image)
        shown = self.cut(work, placement, size)
        if self.reference is not None:
            matrix = self._to_image_pixels(placement, size, work.shape)
            seen = cv2.warpAffine(np.full(work.shape[:2], 255, np.uint8), matrix, size, flags=_LINEAR)
            if (unseen := float((seen < 255).mean())) > 0:
                shown = self._fill(shown, seen, self.reference)
                placement = placement._replace(found=placement.found and unseen <= MAX_UNSEEN)
        if self._polygon is not None:
            shown[self._polygon_mask(size) == 0] = OUTSIDE_GRAY
        return shown, placement

    def cut(self, image: NDArray[Any], placement: Placement, size: tuple[int, int]) -> NDArray[Any]:
        """The rectangle of the region at a known placement, scaled to this width and height. What lies outside the
        image repeats its border.
        """
        matrix = self._to_image_pixels(placement, size, image.shape)
        return np.asarray(cv2.warpAffine(image, matrix, size, flags=_LINEAR, borderMode=cv2.BORDER_REPLICATE))

    def cut_mask(self, mask: NDArray[Any], placement: Placement, size: tuple[int, int]) -> NDArray[Any]:
        """What `view` shows of a mask of the same image, H x W, uint8; what it does not show is 0."""
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        shown = cv2.warpAffine(mask, self._to_image_pixels(placement, size, mask.shape), size, flags=flags)
        if self._polygon is not None:
            shown[self._polygon_mask(size) == 0] = 0
        return np.asarray(shown)

    def to_frame(self, box: Box, placement: Placement) -> Box:
        """A box in what the model sees, as a box in the frame: the rectangle around its four corners."""
        x, y = np.array([box.left, box.right]), np.array([box.top, box.bottom])
        corners = np.array([(left, top) for left in x for top in y]) * self._extent + self._origin
        moved = np.clip(corners @ placement.matrix[:, :2].T + placement.matrix[:, 2], 0, 1)
        (left, top), (right, bottom) = moved.min(axis=0), moved.max(axis=0)
        return Box(*(round(float(edge), 3) for edge in (left, top, right, bottom)))

    def map_to_frame(
        self, heat_map: NDArray[np.float32], placement: Placement, size: tuple[int, int]
    ) -> NDArray[np.float32]:
        """A map over what the model sees, as a map over the whole frame; NaN where the model does not see it.

        Args:
            heat_map: h x w
            placement: where what the model saw lies in the frame
            size: width and height of the result, in the proportions of the frame
        """
        cells = heat_map.shape[1], heat_map.shape[0]
        if self._polygon is not None:
            heat_map = np.where(self._polygon_mask(cells) == 0, np.float32("nan"), heat_map)
        matrix = self._to_image_pixels(placement, cells, (size[1], size[0]))
        nothing = float("nan")
        moved = cv2.warpAffine(heat_map, matrix, size, flags=cv2.INTER_NEAREST, borderValue=(nothing,) * 4)
        return np.asarray(moved, np.float32)

    def _scale(self, image: NDArray[Any], size: tuple[int, int], interpolation: int) -> NDArray[Any]:
        """The image at the resolution of the input, unless it is smaller."""
        width, height = (max(1, round(side / share)) for side, share in zip(size, self._extent, strict=True))
        if image.shape[0] <= height or image.shape[1] <= width:
            return image
        return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation))

    def _to_image_pixels(self, placement: Placement, size: tuple[int, int], shape: tuple[int, ...]) -> NDArray[Any]:
        """Transform from pixels of the input to pixels of an image; pixels have their center at half coordinates."""
        to_reference = np.diag(self._extent / size)
        to_pixels = np.diag([shape[1], shape[0]])
        linear = to_pixels @ placement.matrix[:, :2] @ to_reference
        origin = to_pixels @ (placement.matrix[:, :2] @ self._origin + placement.matrix[:, 2])
        return np.hstack([linear, (origin + linear @ [0.5, 0.5] - 0.5)[:, None]])

    def _fill(self, shown: NDArray[Any], seen: NDArray[Any], reference: NDArray[Any]) -> NDArray[Any]:
        """Takes from the reference what the frame does not show."""
        expected = self.cut(reference, WHOLE, (shown.shape[1], shown.shape[0]))
        share = seen[..., None].astype(np.float32) / 255
        return np.asarray(np.rint(shown * share + expected * (1 - share)), np.uint8)

    def _polygon_mask(self, size: tuple[int, int]) -> NDArray[Any]:
        assert self._polygon is not None
        corners = (self._polygon - self._origin) / self._extent * size - 0.5
        mask = np.zeros((size[1], size[0]), np.uint8)
        return np.asarray(cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 255))
