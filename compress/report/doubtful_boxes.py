"""The report's list of doubtful annotated boxes, with pictures of the first ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from vedette.runtime.inference.prediction import Box

from ..evaluation.label_doubts import DOUBTS, LabelDoubt
from .detect_page import draw_box
from .task_report_section import DoubtfulBox, TaskReportSection
from .thumbnails import read_scaled, to_data_url

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
    kinds = Counter(each.kind for each in found)
    variables = {
        "doubts": found,
        "doubt_counts": {kind: kinds[kind] for kind in DOUBTS},
        "doubt_pictures": [(row, _draw(paths[each.image], each.box)) for row, each in shown],
        "judged_images": len(paths),
    }
    return msgspec.structs.replace(section, variables=section.variables | variables, doubtful_boxes=found)


def _draw(path: Path, box: Box) -> str:
    """The image with the box, as a data URL."""
    picture = read_scaled(path, LONGER_SIDE)
    draw_box(picture, box, _COLOR, 2, "")
    return to_data_url(picture)
