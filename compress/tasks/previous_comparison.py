"""The comparison of a build with the release before it, for anomaly models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.progress import Log

from ..data.corrections import CorrectedSplit
from ..evaluation.anomaly_scoring import score_images
from ..evaluation.area_offsets import adjust_predictions, adjust_scores
from ..evaluation.built_models import INT8_ONNX, BuiltModels
from ..evaluation.compared_designs import GoodAndDefectiveScores, auroc_difference
from ..evaluation.previous_release import PreviousRelease
from ..evaluation.release_comparison import ComparedErrors, ReleaseComparison, compare_errors
from ..report.html_report import display_path
from .anomaly_data import AnomalyData, AnomalyThresholds


class _Comparison:
    """Both releases at their thresholds."""

    def __init__(self, previous: PreviousRelease, threshold: float, base: Path) -> None:
        self.previous, self.threshold = previous, threshold
        self.fitted, self.base = previous.fitted_images, base
        self.left_out = 0
        self.scores: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}

    def errors(
        self,
        title: str,
        paths: Sequence[Path],
        scores: NDArray[Any],
        groups: Mapping[Path, str],
        good: bool,
        kept_aside: bool,
    ) -> ComparedErrors:
        """Errors on the images that the previous release was not made with."""
        unseen = np.array([display_path(path, self.base) not in (self.fitted or ()) for path in paths], bool)
        self.left_out += int((~unseen).sum())
        compared = [path for path, is_unseen in zip(paths, unseen, strict=True) if is_unseen]
        before, after = self.previous.score(compared), scores[unseen]
        self.scores[title] = before, after
        wrong = (before >= self.previous.threshold) == good, (after >= self.threshold) == good
        return compare_errors(title, *wrong, [groups.get(path, path) for path in compared], kept_aside)


def compare_with_previous(
    previous: PreviousRelease | None,
    release: int,
    models: BuiltModels,
    data: object,
    thresholds: object,
    predictions: Any,
    base: Path,
    log: Log,
) -> ReleaseComparison | None:
    """Both releases on the test images and on the corrections that are kept aside; None without a previous release.

    Args:
        previous: the previous release; None: there is none
        release: number of the new one
        models: the new models
        data: the images of the build
        thresholds: those of the new models
        predictions: of the new models for the test images
        base: folder of the goal file
        log: receives a line
    """
    if previous is None:
        return None
    if not isinstance(data, AnomalyData) or not isinstance(thresholds, AnomalyThresholds):
        log("the previous release is not compared: only anomaly models can be")
        return None
    log(f"comparing with release {previous.bundle.manifest.release}")
    images = data.images
    comparison = _Comparison(previous, thresholds.int8.score, base)
    good, defective = adjust_predictions(predictions, thresholds.areas)[INT8_ONNX]
    test = "false alarms on good test images", "misses on defective test images"
    measures = [
        comparison.errors(test[0], images.test, good.scores, images.groups, True, False),
        comparison.errors(test[1], images.defect, defective.scores, {}, False, False),
    ]
    if isinstance(images, CorrectedSplit):
        aside = (
            ("false alarms that were kept aside", images.corrections_good, True),
            ("defects that were kept aside, missed", images.corrections_defective, False),
        )
        for title, paths, is_good in aside:
            found = score_images(models.runners[INT8_ONNX], paths)
            scores = adjust_scores(found, thresholds.areas).scores
            measures.append(comparison.errors(title, paths, scores, images.correction_groups, is_good, True))
    before, after = (GoodAndDefectiveScores(*(comparison.scores[title][number] for title in test)) for number in (0, 1))
    manifest = previous.bundle.manifest
    result = ReleaseComparison(
        previous=manifest.model_id,
        previous_release=manifest.release,
        release=release,
        measures=tuple(each for each in measures if each.images),
        auroc_previous=_auroc(before),
        auroc=_auroc(after),
        auroc_difference=auroc_difference(after, before),
        left_out=comparison.left_out,
        knows_images=comparison.fitted is not None,
    )
    log(result.statement)
    return result


def _auroc(scores: GoodAndDefectiveScores) -> float | None:
    return float(auroc(*scores)) if len(scores.good) and len(scores.defective) else None
