"""The report's list of doubtful annotated boxes, with pictures of the first ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np

from vedette.runtime.camera import image_files
from vedette.runtime.inference.prediction import Box

from ..evaluation.label_doubts import DOUBTS, LabelDoubt
from .task_report_section import DoubtfulBox, TaskReportSection
from .thumbnails import to_data_url

MAX_PICTURES = 12
LONGER_SIDE = 300  # pixels
_COLOR = (0, 60, 230)  # blue, green, red


def add_label_doubts(
    section: TaskReportSection, paths: Sequence[Path], doubts: Sequence[LabelDoubt], base: Path
) -> TaskReportSection:
    """The section with the doubtful boxes.

    Args:
        section: of an object detector
        paths: the judged images, by the index that doubts have
        doubts: the strongest first
        base: folder of the goal file; file names are relative to it
    """
    names = [path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name for path in paths]
    found = [
        DoubtfulBox(names[each.image], each.kind, each.label, each.seen, round(each.score, 3), each.box)
        for each in doubts
    ]
    shown = list(zip(found, doubts, strict=True))[:MAX_PICTURES]
    variables = {
        "doubts": found,
        "doubt_counts": {kind: Counter(each.kind for each in found)[kind] for kind in DOUBTS},
        "doubt_pictures": [(row, _draw(paths[each.image], each.box)) for row, each in shown],
        "judged_images": len(paths),
    }
    return msgspec.structs.replace(section, variables=section.variables | variables, doubtful_boxes=found)


def _draw(path: Path, box: Box) -> str:
    """The image with the box, as a data URL."""
    image = image_files.read_image(path)
    factor = LONGER_SIDE / max(image.shape[:2])
    picture = np.ascontiguousarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
    height, width = picture.shape[:2]
    start, end = (int(box.left * width), int(box.top * height)), (int(box.right * width), int(box.bottom * height))
    cv2.rectangle(picture, start, end, _COLOR, 2)
    return to_data_url(picture)
