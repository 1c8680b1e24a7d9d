"""The report of a classifier: reliability diagram, sample images, and where float and int8 disagree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import UNKNOWN
from vedette.runtime.evaluation.metrics import reliability_diagram
from vedette.runtime.inference.heads.classify import softmax

from ..data.stratified_split import StratifiedSplit
from ..evaluation.built_models import FLOAT, INT8_ONNX
from ..evaluation.confidence_and_reject_threshold import ConfidenceThreshold
from ..evaluation.disagreement import ImageComparison, rank_comparisons
from .task_report_section import DisagreementSection, TaskReportSection
from .thumbnails import read_thumbnail, to_data_url

SAMPLES_PER_ROW = 8


def classification_context(
    images: StratifiedSplit,
    scores: dict[str, NDArray[Any]],
    threshold: ConfidenceThreshold,
    float_threshold: ConfidenceThreshold,
) -> TaskReportSection:
    """The classifier's part of the report.

    Args:
        images: the split
        scores: scores of the test images by model, n x K
        threshold: confidence threshold of the int8 models
        float_threshold: confidence threshold chosen for the float model in the same way
    """
    truth = np.array(images.class_indices(images.test))
    probabilities = softmax(scores[INT8_ONNX], threshold.temperature)
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    return TaskReportSection(
        template="classify.html",
        disagreement=compare_answers(
            images.test, images.classes, (scores[FLOAT], scores[INT8_ONNX]), (float_threshold, threshold)
        ),
        variables={
            "threshold": threshold,
            "bins": reliability_diagram(confidence, predicted == truth),
            "samples": _sample_rows(images, truth, predicted, confidence, threshold.min_probability),
        },
    )


def compare_answers(
    paths: Sequence[Path],
    classes: Sequence[str],
    scores: tuple[NDArray[Any], NDArray[Any]],
    thresholds: tuple[ConfidenceThreshold, ConfidenceThreshold] | None,
) -> DisagreementSection:
    """Test images that float and int8 answer differently.

    Args:
        paths: test images
        classes: names of the classes
        scores: scores of the float and of the int8 model, n x K
        thresholds: confidence thresholds of the two models; None: no image is answered unknown
    """
    temperatures = [each.temperature for each in thresholds] if thresholds else [1.0, 1.0]
    levels = [each.min_probability for each in thresholds] if thresholds else [0.0, 0.0]
    probabilities = [softmax(each, temperature) for each, temperature in zip(scores, temperatures, strict=True)]
    confidence = [each.max(axis=1) for each in probabilities]
    predicted = [each.argmax(axis=1) for each in probabilities]
    answers = [
        np.where(sure >= level, label, -1) for sure, label, level in zip(confidence, predicted, levels, strict=True)
    ]

    def describe(model: int, index: int) -> str:
        text = f"{classes[predicted[model][index]]} {confidence[model][index]:.3f}"
        return text if answers[model][index] >= 0 else f"{UNKNOWN} ({text})"

    comparisons = (
        ImageComparison(
            index,
            path,
            describe(0, index),
            describe(1, index),
            bool(answers[0][index] != answers[1][index]),
            float(np.abs(probabilities[0][index] - probabilities[1][index]).max()),
        )
        for index, path in enumerate(paths)
    )
    criterion = "where the answer is the likeliest class"
    criterion += f", or {UNKNOWN} below the confidence threshold of each model" if thresholds else ""
    return DisagreementSection.render(
        rank_comparisons(comparisons, criterion), lambda comparison: read_thumbnail(comparison.path)
    )


def _sample_rows(
    images: StratifiedSplit,
    truth: NDArray[Any],
    predicted: NDArray[Any],
    confidence: NDArray[Any],
    min_confidence: float,
) -> list[dict[str, Any]]:
    """Rows of sample images: confident errors first, then unknown answers, then the least confident right answers."""
    wrong, answered = predicted != truth, confidence >= min_confidence
    rows = []
    for title, selected, order in (
        ("Wrong, the most confident first", wrong & answered, np.argsort(-confidence)),
        ("Answered unknown, the least confident first", ~answered, np.argsort(confidence)),
        ("Right, the least confident first", ~wrong & answered, np.argsort(confidence)),
    ):
        samples = []
        for index in [each for each in order if selected[each]][:SAMPLES_PER_ROW]:
            path = images.test[index]
            samples.append(
                {
                    "name": path.name,
                    "truth": images.classes[truth[index]],
                    "answer": images.classes[predicted[index]] if answered[index] else UNKNOWN,
                    "confidence": float(confidence[index]),
                    "image": to_data_url(read_thumbnail(path)),
                }
            )
        if samples:
            rows.append({"title": title, "images": samples})
    return rows
