"""Parts of a frame that are pixelated in evidence because of what the model found there: heads, and vehicles.

A person's head is hidden where the box says that it is, whatever the face detector finds (face_guard.py): faces that
are turned away, covered or small escape it. There is no detector of number plates: a plate of any country lies
somewhere in the box of its vehicle, so the whole vehicle becomes so coarse that a plate is a few cells.

Because a model misses something now and then, what was found stays hidden for a moment where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..bundle.manifest import Manifest
from ..config.configuration import Config
from ..errors import ConfigProblem
from ..inference.prediction import Box, Prediction
from .anonymization import PERSON_LABEL, pixelate
from .thumbnail import box_slices

VEHICLE_LABELS = {"ambulance", "automobile", "bus", "car", "lorry", "minibus", "moped", "motorbike", "motorcycle"}
VEHICLE_LABELS |= {"pickup", "scooter", "suv", "taxi", "tractor", "trailer", "truck", "van", "vehicle"}
PLATE_LABELS = {"licence plate", "license plate", "number plate"}
"""Labels of what carries a plate, in COCO, VOC and common sets of vehicles, and of plates; compared in lower case, with
spaces for `_` and `-`."""
VEHICLE_CELLS = 12
"""Of the longer side of a vehicle. Of a car from the front a cell is 15 cm wide, a character of its plate 5 cm."""
CUT_VEHICLE_CELLS = 5
"""The same where the box ends at the edge of the frame, so that part of the vehicle is not in view."""
PLATE_CELLS = 2
HEAD_CELLS = 4
"""Of the height of the part of a person's box in which the head is."""
_MARGIN = 0.1  # fraction of its size by which a box grows, because boxes are never exact
_HEAD_HEIGHT, _HEAD_WIDTH = 0.25, 0.6
"""The head is in the upper quarter of a person's box, or in 0.6 of its width if that is more, as in a portrait."""
_SECONDS = 0.5
_EDGE = 0.01  # fraction of the frame within which a box ends at its edge
_WHOLE = Box(0.0, 0.0, 1.0, 1.0)


class PrivateBox(NamedTuple):
    """Pixels that are hidden, and how coarsely."""

    rows: slice
    columns: slice
    cell: float
    """Side of the square that becomes one color, in pixels."""


def open_private_boxes(settings: Config, manifests: Sequence[Manifest], hides_faces: bool) -> PrivateBoxes:
    """What is hidden in the evidence of a camera.

    `[privacy] number_plates` says whether plates are; by default they are if one of the bundles knows vehicles.

    Args:
        settings: of the camera
        manifests: of its bundles, one for each product
        hides_faces: whether heads are hidden

    Raises:
        ConfigProblem: plates have to be hidden, and no bundle knows vehicles.
    """
    asked, labels = settings.privacy.number_plates, {label for each in manifests for label in each.labels}
    knows_vehicles = any(_is_vehicle(label) or _is_plate(label) for label in labels)
    if asked == "hide" and not knows_vehicles:
        raise ConfigProblem(
            f'{settings.camera_file}: number_plates = "hide", but the bundle knows no vehicles, so none can be hidden',
            hint=f"use a bundle with one of the labels {', '.join(sorted(VEHICLE_LABELS))}, or a privacy zone",
        )
    return PrivateBoxes(hides_faces, hides_plates=knows_vehicles and asked != "show")


class PrivateBoxes:
    """What is hidden in the frames of one camera, in the order of their time."""

    def __init__(self, hides_faces: bool = False, hides_plates: bool = False) -> None:
        self.hides_faces, self.hides_plates = hides_faces, hides_plates
        self.seen: list[tuple[float, Prediction]] = []

    def see(self, moment: float, predictions: Sequence[Prediction]) -> None:
        """Takes the next frame.

        Args:
            moment: of the frame, in seconds (`Frame.moment`)
            predictions: all that the model found in it
        """
        self.seen = [each for each in self.seen if 0 <= moment - each[0] <= _SECONDS]
        self.seen += [(moment, each) for each in predictions if self._is_private(each)]

    def find(self, size: tuple[int, ...]) -> list[PrivateBox]:
        """What is hidden in the last frame, what was hidden half a second before it included.

        Args:
            size: height and width of the frame in pixels
        """
        return self.find_in_frame([each for _, each in self.seen], size)

    def find_in_frame(self, predictions: Sequence[Prediction], size: tuple[int, ...]) -> list[PrivateBox]:
        """What is hidden in a frame, of this size in pixels, because of its own predictions."""
        found = []
        for each in filter(self._is_private, predictions):
            box = each.box or _WHOLE
            if _is_person(each.label):
                found.append(_place_head(box, size))
            else:
                found.append(_place_coarsely(box, size, PLATE_CELLS if _is_plate(each.label) else _count_cells(box)))
        return found

    def _is_private(self, seen: Prediction) -> bool:
        if _is_person(seen.label):
            return self.hides_faces and seen.box is not None
        return self.hides_plates and (_is_vehicle(seen.label) or _is_plate(seen.label))


def cover_boxes(pixels: Any, boxes: Sequence[PrivateBox]) -> Any:
    """A picture, H x W x 3, uint8, with these boxes pixelated; the same array if there are none."""
    if boxes:
        pixels = pixels.copy()
    for rows, columns, cell in boxes:
        part = pixels[rows, columns]
        height, width = part.shape[:2]
        pixels[rows, columns] = pixelate(part, max(1, round(width / cell)), max(1, round(height / cell)))
    return pixels


def _is_person(label: str) -> bool:
    return label.lower() == PERSON_LABEL


def _is_vehicle(label: str) -> bool:
    return label.lower() in VEHICLE_LABELS


def _is_plate(label: str) -> bool:
    return label.lower().replace("_", " ").replace("-", " ") in PLATE_LABELS


def _count_cells(vehicle: Box) -> int:
    is_cut = min(vehicle.left, vehicle.top) < _EDGE or max(vehicle.right, vehicle.bottom) > 1 - _EDGE
    return CUT_VEHICLE_CELLS if is_cut else VEHICLE_CELLS


def _place_coarsely(box: Box, size: tuple[int, ...], cells: int) -> PrivateBox:
    rows, columns = box_slices(box, size, _MARGIN)
    return PrivateBox(rows, columns, max(rows.stop - rows.start, columns.stop - columns.start) / cells)


def _place_head(box: Box, size: tuple[int, ...]) -> PrivateBox:
    height, width = size[:2]
    high, wide = (box.bottom - box.top) * height, (box.right - box.left) * width
    part = min(max(_HEAD_HEIGHT * high, _HEAD_WIDTH * wide), high) / height
    rows, columns = box_slices(Box(box.left, box.top, box.right, box.top + part), size, _MARGIN)
    return PrivateBox(rows, columns, max((1 + 2 * _MARGIN) * part * height / HEAD_CELLS, 1.0))
