"""The report of an anomaly model: score histogram, ROC curves, and sample images with their anomaly maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.evaluation.metrics import roc_curve
from vedette.runtime.inference.inspector import Inspector

from ..data.motion_selection import AlignmentEvidence
from ..data.split import Split
from ..evaluation.anomaly_scoring import ImageScores
from ..evaluation.built_models import FLOAT, INT8_ONNX
from ..evaluation.conformal_threshold import AnomalyThreshold
from ..evaluation.disagreement import ImageComparison, rank_comparisons
from .compression_steps import CompressionStep
from .task_report_section import DisagreementSection, TaskReportSection
from .threshold_table import list_thresholds
from .thumbnails import THUMBNAIL_SIDE, read_thumbnail, to_data_url

HISTOGRAM_BINS = 40
SAMPLES_PER_ROW = 4
FULL_COLOR = 2.0  # multiple of the threshold from which on an anomaly map has its full color

Scores = dict[str, tuple[ImageScores, ImageScores]]
"""By model: scores and maps of the good and of the defective test images."""


def anomaly_context(
    split: Split,
    scores: Scores,
    threshold: AnomalyThreshold,
    float_threshold: AnomalyThreshold,
    *,
    template: str = "anomaly.html",
    designs: dict[str, Any] | None = None,
    earlier_steps: list[CompressionStep] | None = None,
    inspector: Inspector | None = None,
    alignment: AlignmentEvidence | None = None,
) -> TaskReportSection:
    """The anomaly model's part of the report.

    Args:
        split: paths of the test images
        scores: scores and maps by model
        threshold: threshold of the int8 models
        float_threshold: threshold chosen for the float model in the same way
        template: the template
        designs: chart of the designs of a search, from `design_chart`
        earlier_steps: compression steps before the float model
        inspector: cuts what the model sees out of an image; None: the model sees the whole image
        alignment: how sure the alignment is; None: images are not aligned
    """
    good, defect = scores[INT8_ONNX]
    thresholds = list_thresholds(good.scores, defect.scores, threshold.score)
    return TaskReportSection(
        template=template,
        disagreement=_disagreement(split, scores, threshold.score, float_threshold.score, inspector),
        earlier_steps=earlier_steps or [],
        thresholds=thresholds,
        variables={
            "threshold": threshold,
            "threshold_rows": thresholds,
            "test_scores": {"good": _rounded(good.scores), "defect": _rounded(defect.scores)},
            "histogram": _histogram(good.scores, defect.scores, threshold.score),
            "curves": _roc_polylines(scores) if len(good.scores) and len(defect.scores) else None,
            "samples": _sample_rows(split, good, defect, threshold.score, inspector),
            "alignment": alignment,
            "designs": designs,
            "suspects": split.audit.get("suspects", []),
            "unusual": len(split.unusual),
        },
    )


def _rounded(scores: NDArray[Any]) -> list[float]:
    """Sorted, with seven digits: integer steps of the models are coarser."""
    return [float(f"{score:.7g}") for score in np.sort(scores)]


def _histogram(good: NDArray[Any], defect: NDArray[Any], threshold: float) -> dict[str, Any]:
    """Bar heights as fractions of the highest bar, and the threshold as a fraction of the axis."""
    low = 0.0
    high = float(max(good.max(initial=0.0), defect.max(initial=0.0), threshold)) * 1.02
    counts = [np.histogram(scores, bins=HISTOGRAM_BINS, range=(low, high))[0] for scores in (good, defect)]
    shares = [each / max(each.sum(), 1) for each in counts]
    highest = max(float(each.max()) for each in shares) or 1.0
    return {
        "good": [float(each) / highest for each in shares[0]],
        "defect": [float(each) / highest for each in shares[1]],
        "threshold": threshold / high,
        "high": high,
    }


def _roc_polylines(scores: Scores) -> dict[str, str]:
    """The ROC curve of each model as the points of an SVG polyline in the unit square, y down."""
    polylines = {}
    for model, (good, defect) in scores.items():
        points = roc_curve(good.scores, defect.scores)
        polylines[model] = " ".join(f"{x:.4f},{1 - y:.4f}" for x, y in points)
    return polylines


def _sample_rows(
    split: Split, good: ImageScores, defect: ImageScores, threshold: float, inspector: Inspector | None
) -> list[dict[str, Any]]:
    """Rows of sample images beside their anomaly maps: highest good scores, highest and lowest defective scores."""
    rows = []
    for title, paths, scored, order in (
        ("good, highest scores", split.test, good, np.argsort(-good.scores)),
        ("defective, highest scores", split.defect, defect, np.argsort(-defect.scores)),
        ("defective, lowest scores", split.defect, defect, np.argsort(defect.scores)),
    ):
        images = [
            {
                "name": paths[index].name,
                "score": float(scored.scores[index]),
                "image": _image_and_overlay(paths[index], scored.maps[index], threshold, inspector),
            }
            for index in order[:SAMPLES_PER_ROW]
        ]
        if images:
            rows.append({"title": title, "images": images})
    return rows


def _disagreement(
    split: Split, scores: Scores, threshold: float, float_threshold: float, inspector: Inspector | None
) -> DisagreementSection:
    """Scores are compared as multiples of each model's own threshold. Shown: image, float map, int8 map."""
    paths = [*split.test, *split.defect]
    thresholds = {FLOAT: float_threshold, INT8_ONNX: threshold}
    relative = [np.concatenate([each.scores for each in scores[model]]) / level for model, level in thresholds.items()]
    maps = {model: [*scores[model][0].maps, *scores[model][1].maps] for model in thresholds}

    def describe(share: float, level: float) -> str:
        return f"{share * level:.3g}, {share:.2f} of the threshold"

    comparisons = (
        ImageComparison(
            index,
            path,
            describe(fp32, float_threshold),
            describe(int8, threshold),
            bool((fp32 >= 1) != (int8 >= 1)),
            float(abs(min(fp32, FULL_COLOR) - min(int8, FULL_COLOR))),
        )
        for index, (path, fp32, int8) in enumerate(zip(paths, *relative, strict=True))
    )
    disagreement = rank_comparisons(comparisons, "with each score compared with the threshold of its own model")

    def draw(comparison: ImageComparison) -> NDArray[Any]:
        image = read_thumbnail(comparison.path, inspector)
        overlays = [_overlay(image, maps[model][comparison.index], level) for model, level in thresholds.items()]
        return np.hstack([image, *overlays])

    return DisagreementSection.render(disagreement, draw, wide=True)


def _image_and_overlay(path: Path, anomaly_map: NDArray[Any], threshold: float, inspector: Inspector | None) -> str:
    """The image beside the image under its anomaly map, as a data URL."""
    image = read_thumbnail(path, inspector)
    return to_data_url(np.hstack([image, _overlay(image, anomaly_map, threshold)]))


def _overlay(image: NDArray[Any], anomaly_map: NDArray[Any], threshold: float) -> NDArray[Any]:
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    heat = cv2.resize(anomaly_map.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    level = np.clip(heat / (FULL_COLOR * threshold) * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.addWeighted(image, 0.5, cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), 0.5, 0))
