"""COCO's mean average precision of object detectors.

It is computed by faster-coco-eval (Apache-2.0), which gives the same figures as COCO's own `pycocotools`. Average
precision is computed for each class over all images; its mean is taken over the classes in the annotations. `map50`
counts a box as right if its IoU is at least 0.5; `map` is the mean over ten IoU thresholds from 0.5 to 0.95. With few
images a class has few objects, and a single box changes the figure: the interval says by how much.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import msgspec
import numpy as np

from ..distribution import install_command
from ..errors import MachineProblem
from ..inference.prediction import Box, Prediction
from .annotated_object import AnnotatedObject

MIN_SCORE = 0.01
"""Least score of a detection: average precision needs detections of low confidence, too."""
_SQUARE_PIXELS = 1000.0  # side of a square to which fractions are scaled; IoU does not depend on it


class MeanAveragePrecision(msgspec.Struct, frozen=True):
    """The figures of one model."""

    map50: float
    map: float


def mean_average_precision(
    truth: Sequence[Sequence[AnnotatedObject]], detections: Sequence[Sequence[Prediction]], labels: Sequence[str]
) -> MeanAveragePrecision:
    """The mean average precision of the detections in each image, given the annotated objects.

    Raises:
        MachineProblem: faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        hint = f"{install_command('map')}, which is needed for measurements only"
        raise MachineProblem(f"mean average precision: {error}", hint=hint) from None
    annotations = [
        {"id": number, "image_id": image, "category_id": each.label, "iscrowd": int(each.crowd), **_coco_box(each.box)}
        for number, (image, each) in enumerate(
            ((image, each) for image, objects in enumerate(truth) for each in objects), start=1
        )
    ]
    if not annotations:
        return MeanAveragePrecision(0.0, 0.0)
    category_ids = {label: number for number, label in enumerate(labels)}
    results = [
        {"image_id": image, "category_id": category_ids[each.label], "score": each.score, **_coco_box(each.box)}
        for image, predictions in enumerate(detections)
        for each in predictions
        if each.box is not None
    ]
    if not results:
        return MeanAveragePrecision(0.0, 0.0)
    dataset = {
        "images": [{"id": image, "width": _SQUARE_PIXELS, "height": _SQUARE_PIXELS} for image in range(len(truth))],
        "annotations": annotations,
        "categories": [{"id": number, "name": label} for number, label in enumerate(labels)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco_truth = COCO(dataset)
        evaluation = COCOeval_faster(coco_truth, coco_truth.loadRes(results), "bbox", print_function=lambda *_: None)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return MeanAveragePrecision(float(evaluation.stats[1]), float(evaluation.stats[0]))


def map50_interval(
    truth: Sequence[Sequence[AnnotatedObject]],
    detections: Sequence[Sequence[Prediction]],
    labels: Sequence[str],
    draws: int = 50,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of `map50`, resampling images."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        chosen = rng.integers(0, len(truth), len(truth))
        values.append(
            mean_average_precision(
                [truth[each] for each in chosen], [detections[each] for each in chosen], labels
            ).map50
        )
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _coco_box(box: Box) -> dict[str, object]:
    """A box in COCO's format."""
    width, height = (box.right - box.left) * _SQUARE_PIXELS, (box.bottom - box.top) * _SQUARE_PIXELS
    return {"bbox": [box.left * _SQUARE_PIXELS, box.top * _SQUARE_PIXELS, width, height], "area": width * height}
