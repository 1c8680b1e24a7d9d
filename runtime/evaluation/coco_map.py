"""How well boxes are found: COCO's mean average precision.

Worked out by faster-coco-eval (Apache-2.0), which gives the figures of COCO's own `pycocotools`. Average precision is
taken for each class over all images, and its mean over the classes that the truth has; `map50` counts a box as right
that overlaps by half (intersection over union), `map` is the mean over ten such limits from 0.5 to 0.95. With few
images a class has few objects, and one box more or less moves the figure: an interval says by how much.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import msgspec
import numpy as np

from ..errors import MachineProblem
from ..inference.prediction import Box, Prediction
from .object_annotations import Object

LEAST = 0.01
"""The score from which on boxes count: average precision asks for the doubtful ones, too."""
_SIDE = 1000.0  # fractions become pixels of a square; overlaps do not depend on it


class Precision(msgspec.Struct, frozen=True):
    """Of one model."""

    map50: float
    map: float


def precision(
    truth: Sequence[Sequence[Object]], seen: Sequence[Sequence[Prediction]], labels: Sequence[str]
) -> Precision:
    """How well what was seen in each image agrees with the truth.

    Raises:
        MachineProblem: faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        hint = "pip install 'vedette[map]', which is for measuring and not needed to watch"
        raise MachineProblem(f"mean average precision: {error}", hint=hint) from None
    marks = [
        {"id": number, "image_id": image, "category_id": each.label, "iscrowd": int(each.crowd), **_placed(each.box)}
        for number, (image, each) in enumerate(
            ((image, each) for image, objects in enumerate(truth) for each in objects), start=1
        )
    ]
    if not marks:
        return Precision(0.0, 0.0)
    places = {label: number for number, label in enumerate(labels)}
    answers = [
        {"image_id": image, "category_id": places[each.label], "score": each.score, **_placed(each.box)}
        for image, predictions in enumerate(seen)
        for each in predictions
        if each.box is not None
    ]
    if not answers:
        return Precision(0.0, 0.0)
    described = {
        "images": [{"id": image, "width": _SIDE, "height": _SIDE} for image in range(len(truth))],
        "annotations": marks,
        "categories": [{"id": number, "name": label} for number, label in enumerate(labels)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(described)
        judged = COCOeval_faster(known, known.loadRes(answers), "bbox", print_function=lambda *_: None)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return Precision(float(judged.stats[1]), float(judged.stats[0]))


def interval(
    truth: Sequence[Sequence[Object]],
    seen: Sequence[Sequence[Prediction]],
    labels: Sequence[str],
    draws: int = 50,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of `map50`, images drawn."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        chosen = rng.integers(0, len(truth), len(truth))
        values.append(precision([truth[each] for each in chosen], [seen[each] for each in chosen], labels).map50)
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _placed(box: Box) -> dict[str, object]:
    """As COCO has it."""
    width, height = (box.right - box.left) * _SIDE, (box.bottom - box.top) * _SIDE
    return {"bbox": [box.left * _SIDE, box.top * _SIDE, width, height], "area": width * height}
