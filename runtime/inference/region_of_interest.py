"""The region of interest of a camera: the part of the frame that events may come from (`region` in the camera's file).

    objects      a detection counts if the foot point of its box lies in the region, as with the zones of rules
    anomalies    cells of the map outside of the region count as the lowest cell; the score is lower by as much as the
                 highest cell became lower (area_thresholds.py), so it can never be higher than without a region

The model still sees the whole frame. A classifier says nothing about places, so it takes no region.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import Manifest
from ..config.polygon import Polygon
from ..errors import ConfigProblem
from .area_thresholds import locate_areas
from .inspector import Inspector
from .part_aligner import Placement
from .prediction import Box, foot_point

MASK_SIDE = 256  # pixels of the region's mask, from which that of an aligned part is cut


class RegionOfInterest:
    """The region of a camera, for the predictions of one bundle.

    Args:
        polygon: corners, fractions 0…1 of the frame
        manifest: of the bundle
        inspector: cuts what the model sees out of the frame; None: it sees the whole frame

    Raises:
        ConfigProblem: the bundle's predictions have no place, or no cell of its map lies in the region.
    """

    def __init__(self, polygon: Polygon, manifest: Manifest, inspector: Inspector | None = None) -> None:
        check_region(polygon, manifest)
        self.contour = np.array(polygon, np.float32)
        self.inspector = inspector if inspector is not None and inspector.aligner is not None else None
        self.mask = cv2.fillPoly(
            np.zeros((MASK_SIDE, MASK_SIDE), np.uint8), [np.rint(self.contour * MASK_SIDE - 0.5).astype(np.int32)], 1
        )
        self.cells = _locate_cells(polygon, manifest)

    def contains(self, box: Box | None) -> bool:
        """Whether the foot point of a box lies in the region; what has no box does."""
        return box is None or bool(cv2.pointPolygonTest(self.contour, foot_point(box), False) >= 0)

    def cells_at(self, placement: Placement) -> NDArray[np.bool_]:
        """The cells of the anomaly map that lie in the region, H x W.

        Args:
            placement: where what the model sees lies in the frame
        """
        if self.inspector is None:
            return self.cells
        rows, columns = self.cells.shape
        return np.asarray(self.inspector.cut_mask(self.mask, placement, (columns, rows)) > 0)


def check_region(polygon: Polygon, manifest: Manifest) -> None:
    """Checks that a bundle can have this region.

    Raises:
        ConfigProblem: its predictions have no place, or no cell of its map lies in the region.
    """
    if not polygon:
        return
    if not has_places(manifest):
        hint = "take it out; or build the bundle with [inspect] region, so that the model sees nothing else"
        raise ConfigProblem(f"region: {manifest.name} says nothing about places in the frame", hint=hint)
    is_aligned = manifest.inspect is not None and manifest.inspect.alignment is not None
    if manifest.boxes is None and not is_aligned and not _locate_cells(polygon, manifest).any():
        raise ConfigProblem("region: no cell of the model's map lies in it", hint="draw it larger, or elsewhere")


def describe_region_difference(polygon: Polygon, manifest: Manifest) -> str:
    """A sentence about a region that the threshold of the bundle was not set for, with the remedy; empty if it was."""
    if manifest.recalibrated is None or manifest.scored_region == polygon:
        return ""
    state = "in another region of interest" if manifest.scored_region else "without this region of interest"
    return (
        f"{manifest.name} was recalibrated {state}: its threshold is that of other scores, and drift is not watched; "
        "run vedette recalibrate with --camera"
    )


def has_places(manifest: Manifest) -> bool:
    """Whether the predictions of a bundle say where something is."""
    return manifest.boxes is not None or any(each.name == "map" for each in manifest.outputs)


def _locate_cells(polygon: Polygon, manifest: Manifest) -> NDArray[Any]:
    """The cells of the map in the region, if the part is not aligned; none if the model has no map."""
    if manifest.boxes is not None:
        return np.zeros((0, 0), bool)
    rows, columns = manifest.output("map").shape[-2:]
    seen = () if manifest.inspect is None else manifest.inspect.region
    return np.asarray(locate_areas([polygon], seen, (rows, columns)) == 0)
