"""The thresholds of an anomaly model when scores of the box set them (`[data] score_log`)."""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np

from vedette.runtime.calibration import good_scores

from ..evaluation.built_models import INT8_ONNX, BuiltModels
from ..evaluation.p_values import HeldOutScores
from ..evaluation.score_log_threshold import ScoreLog, choose_from_log
from .anomaly_data import AnomalyThresholds


def logged_thresholds(
    chosen: AnomalyThresholds, score_log: ScoreLog | None, models: BuiltModels, target: float
) -> AnomalyThresholds:
    """The thresholds from the scores of the box; those of the images if there is no log.

    The float model gave no scores there. Its threshold moves as far as that of the int8 model, so that both are judged
    at like operating points.

    Args:
        chosen: the thresholds of the images
        score_log: scores of the box; None: there are none
        models: the built models
        target: share of good parts that may raise an alarm

    Raises:
        ConfigProblem: the scores are those of another model, or too few.
    """
    if score_log is None:
        return chosen
    output = models.manifest.output("score")
    rows = score_log.of_model(models.manifest.name, hashlib.sha256(models.files[INT8_ONNX]).hexdigest())
    threshold = choose_from_log(rows, chosen.int8.score, output, target)
    scores = np.array([row.score for row in rows])
    weight = threshold.effective_sample_size / threshold.images
    moved = chosen.fp32.score + threshold.score - chosen.int8.score
    return msgspec.structs.replace(
        chosen,
        fp32=msgspec.structs.replace(chosen.fp32, score=moved),
        int8=threshold,
        held_out=HeldOutScores(scores, good_scores.summarize(scores, output.scale, output.highest, weight)),
    )
