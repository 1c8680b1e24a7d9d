"""Does someone behave abnormally? Learned from one camera's normal footage, without labels.

A statistical model of motion energy by image zone (compress/models/motion_anomaly_model.py): motion that is stronger,
of another kind or at another place than usual is an anomaly, with a box. Clips of abnormal behaviour only measure it.
With labelled clips the task is a classifier instead (behaviour_classification.py).

The model sees difference images (runtime/inference/frame_differencing.py), which the rest of the build treats as
images; data/clip_images.py computes them. Each clip gets one score: the highest score that the device would have
reported during it. The threshold is chosen for clips, and the AUROC counts clips.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import MotionInput
from vedette.runtime.evaluation.bundle_recalibration import FALSE_ALARM_RATE
from vedette.runtime.inference.frame_differencing import NO_CHANGE
from vedette.runtime.progress import Log, Progress, no_progress

from ..data import clip_images, split
from ..data.clip_images import ClipImages
from ..data.image_feature_cache import split_good_and_defective
from ..data.split import SPLIT_FRACTIONS, Split
from ..evaluation import anomaly_scoring, conformal_threshold
from ..evaluation.anomaly_scoring import AnomalyMetrics, ImageScores
from ..evaluation.built_models import FLOAT, INT8_ONNX, BuiltModels
from ..evaluation.clip_outputs import score_clip_windows
from ..evaluation.conformal_threshold import AnomalyThreshold
from ..evaluation.model_runners import ModelRunner
from ..goal.goal_tables import Goal
from ..models import efficientnet_lite
from ..models.motion_anomaly_model import ZoneAnomalyModel
from ..report.anomaly_page import anomaly_context
from ..report.task_report_section import TaskReportSection
from ..search.search_setup import SearchSetup
from ..training import design_fitting
from ..training.float_and_int8_model import FloatAndInt8Model
from .anomaly import GOLDEN_PER_CLASS
from .task import ALL_PURPOSES, Thresholds, TrainingResult

INPUT = 128  # pixels: a person who fills a tenth of the height is still one and a half zones high
GAIN = 2.0  # integers for a gray level: differences beyond 64 levels look alike
WINDOW = 1.0  # seconds
MAX_FIT_IMAGES = 4000  # images that the zones are fitted to, taken evenly: thirteen minutes
_NORMAL, _ABNORMAL = "footage", "abnormal"


def motion_input(goal: Goal) -> MotionInput:
    """How the model sees motion."""
    return MotionInput(goal.model.spacing, GAIN, WINDOW)


class DifferenceImages(msgspec.Struct, frozen=True):
    """Difference images of normal and abnormal clips."""

    images: Split
    clips: ClipImages
    """Owns the folder with the difference images."""


class MotionAnomalyTask:
    """Task `behaviour` with normal footage alone."""

    description = "a motion model by image zone"
    purposes = ALL_PURPOSES
    trains_for_device = False

    def __init__(self, goal: Goal, _device: DeviceProfile) -> None:
        self.goal = goal
        self.size = goal.model.side or INPUT
        self.spec, self.motion = efficientnet_lite.backbone_input_spec(self.size), motion_input(goal)

    def split(self, base: Path, progress: Progress, log: Log) -> DifferenceImages:
        data = self.goal.data
        folders = {_NORMAL: base / str(data.footage)} | ({_ABNORMAL: base / data.abnormal} if data.abnormal else {})
        clips = clip_images.extract_clip_images(folders, data, base, self.spec, self.motion, _NORMAL, progress)
        by_label = clips.images.by_label
        clip_images.require_clips({_NORMAL: by_label[_NORMAL]}, len(SPLIT_FRACTIONS), "")
        labels = {"good": by_label[_NORMAL]} | ({"defect": by_label[_ABNORMAL]} if data.abnormal else {})
        as_images = msgspec.structs.replace(clips.images, by_label=labels)
        as_good = msgspec.structs.replace(data, good=str(data.footage), defect=data.abnormal, mask=None)
        images = split.split_images(as_good, base, as_images, always_divided=True)
        normal, abnormal = (
            clip_images.group_by_clip(labels["good"]),
            clip_images.group_by_clip(images.defect),
        )
        log(f"{len(normal)} normal clips, {len(abnormal)} abnormal clips")
        return DifferenceImages(images, clips)

    def train(
        self, data: DifferenceImages, _budget: SearchSetup | None, folder: Path, progress: Progress, _log: Log
    ) -> TrainingResult:
        return TrainingResult(self.fit(data.images.fit, data.images.calibrate, folder, progress))

    def fit(self, fit: list[Path], calibrate: list[Path], folder: Path, progress: Progress) -> FloatAndInt8Model:
        """Zones, float and int8, each fitted to the motion energy that it computes itself.

        Abnormal motion is stronger than that of the calibration images, and the int8 ranges must reach that far. So
        each calibration image is used a second time, with its differences doubled.

        Args:
            fit: difference images of normal clips
            calibrate: difference images of normal clips that set the int8 ranges
            folder: keeps the state of long training
            progress: shows progress
        """
        selected = fit[:: ceil(len(fit) / MAX_FIT_IMAGES)]
        images = list(split.model_inputs(progress(selected, "reading"), self.spec))
        calibration = list(split.model_inputs(calibrate, self.spec))
        calibration += [_double_differences(each) for each in calibration]
        zones = ZoneAnomalyModel(self.size)

        def fit_zones(batches: design_fitting.FeatureBatches) -> None:
            zones.fit(split_good_and_defective(batches, len(images))[0])

        return design_fitting.fit_float_then_int8(
            self.goal, zones, self.size, fit_zones, calibration, images, lambda _: images, folder
        )

    def choose_threshold(self, models: BuiltModels, data: DifferenceImages) -> Thresholds[AnomalyThreshold]:
        score = models.manifest.output("score")
        target = self.goal.goal.false_alarm_rate or FALSE_ALARM_RATE
        groups = [data.images.groups[path] for path in clip_images.group_by_clip(data.images.threshold)]
        step = score.scale / 16  # the score of a clip is a mean of several
        fp32, int8 = (
            self._score_clips(models.runners[model], data.images.threshold, no_progress, model).scores
            for model in (FLOAT, INT8_ONNX)
        )
        return Thresholds(
            fp32=conformal_threshold.choose_threshold(fp32, step, target, groups),
            int8=conformal_threshold.choose_threshold(int8, step, target, groups, score.highest),
        )

    def predict(
        self, runners: dict[str, ModelRunner], data: DifferenceImages, progress: Progress
    ) -> dict[str, tuple[ImageScores, ImageScores]]:
        """Scores and maps of the normal and of the abnormal test clips."""
        return {
            model: (
                self._score_clips(runner, data.images.test, progress, model),
                self._score_clips(runner, data.images.defect, progress, model),
            )
            for model, runner in runners.items()
        }

    def _score_clips(self, runner: ModelRunner, paths: Sequence[Path], progress: Progress, model: str) -> ImageScores:
        """The highest score during each clip, and its map."""
        clips: Iterable[list[Path]] = progress(list(clip_images.group_by_clip(paths).values()), f"{model}: clips")
        maps, scores = [], []
        for images in clips:
            answers = score_clip_windows(runner, images, self.motion)
            highest = max(answers, key=lambda each: float(each["score"].flat[0]))
            maps.append(highest["map"].reshape(highest["map"].shape[-2:]))
            scores.append(float(highest["score"].flat[0]))
        return ImageScores(maps, np.array(scores))

    def compute_metrics(
        self,
        predictions: dict[str, tuple[ImageScores, ImageScores]],
        data: DifferenceImages,
        _training: TrainingResult,
        thresholds: Thresholds[AnomalyThreshold],
    ) -> AnomalyMetrics:
        by_clip = clip_images.one_image_per_clip(data.images, self.purposes)
        metrics = anomaly_scoring.compute_anomaly_metrics(predictions, by_clip, {}, thresholds.int8)
        return msgspec.structs.replace(metrics, input_size=self.size, counts_clips=True)

    def manifest_fields(self, _data: DifferenceImages, thresholds: Thresholds[AnomalyThreshold]) -> dict[str, Any]:
        return {"labels": ("anomaly",), "threshold": thresholds.int8.score, "motion": self.motion}

    def golden_inputs(self, data: DifferenceImages) -> list[Path]:
        return [*data.images.test[:GOLDEN_PER_CLASS], *data.images.defect[:GOLDEN_PER_CLASS]]

    def report_context(
        self,
        predictions: dict[str, tuple[ImageScores, ImageScores]],
        data: DifferenceImages,
        _training: TrainingResult,
        thresholds: Thresholds[AnomalyThreshold],
    ) -> TaskReportSection:
        images = clip_images.one_image_per_clip(data.images, self.purposes)
        return anomaly_context(images, predictions, thresholds.int8, thresholds.fp32, template="behaviour.html")


def _double_differences(image: NDArray[Any]) -> NDArray[Any]:
    return np.clip(2 * image.astype(np.int16) - NO_CHANGE, 0, 255).astype(np.uint8)
