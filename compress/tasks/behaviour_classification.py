"""Which kind of behaviour is it? The classifier of images (classify.py), over difference images of labelled clips.

The scores of a clip are the mean of those of its images, because the label is that of the whole clip. If a class is
normal (one called `normal` or `good`, or `data.normal`), the AUROC is that of the probability that a clip is not
normal; otherwise that of the probability that it is not of the first class.

Fights look alike if mirrored left-right, and nobody is seen upside down, so nothing is flipped here. Brightness is not
varied either, because in a difference image that is motion.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.devices import DeviceProfile
from vedette.runtime.evaluation.behaviour_evaluation import NORMAL_FOLDERS
from vedette.runtime.inference.frame_differencing import max_maps_and_mean_scores
from vedette.runtime.inference.heads.classify import softmax
from vedette.runtime.progress import Log, Progress

from ..data import clip_images, stratified_split
from ..data.split import SPLIT_FRACTIONS
from ..data.stratified_split import StratifiedSplit
from ..evaluation.anomaly_scoring import measure_auroc
from ..evaluation.classification_metrics import ClassificationMetrics
from ..evaluation.clip_outputs import run_on_clip_images
from ..evaluation.confidence_and_reject_threshold import ConfidenceThreshold
from ..evaluation.model_runners import ModelRunner
from ..goal.augmentation_settings import AugmentationSettings
from ..goal.goal_tables import Goal
from ..models import efficientnet_lite
from ..report.task_report_section import TaskReportSection
from .behaviour import INPUT, motion_input
from .classify import ClassificationData, ClassificationTask
from .task import Thresholds, TrainingResult


class ClipClassificationTask(ClassificationTask):
    """Task `behaviour` with labelled clips."""

    description = "a classifier of clips"
    epochs = 0  # dozens of clips from a handful of cameras are enough for a head, and too few for a backbone

    def __init__(self, goal: Goal, device: DeviceProfile) -> None:
        super().__init__(msgspec.structs.replace(goal, augment=goal.augment or AugmentationSettings(light=0.0)), device)
        self.size = goal.model.side or INPUT
        self.spec, self.motion = efficientnet_lite.backbone_input_spec(self.size), motion_input(goal)

    def split(self, base: Path, progress: Progress, log: Log) -> ClassificationData:
        data = self.goal.data
        folders = stratified_split.find_class_folders(data, base)
        clips = clip_images.extract_clip_images(folders, data, base, self.spec, self.motion, "", progress)
        by_label = clips.images.by_label
        clip_images.require_clips(by_label, len(SPLIT_FRACTIONS), " for each class")
        normal = data.normal or tuple(name for name in folders if name in NORMAL_FOLDERS)
        as_images = msgspec.structs.replace(data, normal=normal, group=data.group or "folder")
        images = stratified_split.split_by_class(as_images, base, clips.images)
        counts = {label: len(clip_images.group_by_clip(paths)) for label, paths in by_label.items()}
        log(", ".join(f"{count} clips of {label}" for label, count in counts.items()))
        return ClassificationData(images, clips)

    def score(self, runner: ModelRunner, paths: Iterable[Path]) -> NDArray[Any]:
        """Scores of the clips whose images are among `paths`, n x K."""
        return score_clips(runner, paths)

    def class_labels(self, images: StratifiedSplit, paths: list[Path]) -> NDArray[Any]:
        """Classes of the clips whose images are among `paths`, n."""
        return np.array(images.class_indices(list(clip_images.group_by_clip(paths))))

    def compute_metrics(
        self,
        predictions: dict[str, NDArray[Any]],
        data: ClassificationData,
        training: TrainingResult,
        thresholds: Thresholds[ConfidenceThreshold],
    ) -> ClassificationMetrics:
        images = clip_images.one_image_per_clip(data.images, self.purposes)
        metrics = super().compute_metrics(predictions, ClassificationData(images), training, thresholds)
        normal = [images.classes.index(name) for name in images.normal or images.classes[:1]]
        is_normal = np.isin(images.class_indices(images.test), normal)
        aurocs = {}
        for model, scores in predictions.items():
            abnormal = 1 - softmax(scores, thresholds.int8.temperature)[:, normal].sum(axis=1)
            aurocs[model] = measure_auroc(abnormal[is_normal], abnormal[~is_normal])
        return msgspec.structs.replace(
            metrics, metric="auroc", by_model=aurocs, input_size=self.size, counts_clips=True
        )

    def manifest_fields(self, data: ClassificationData, thresholds: Thresholds[ConfidenceThreshold]) -> dict[str, Any]:
        return super().manifest_fields(data, thresholds) | {"motion": self.motion}

    def report_context(
        self,
        predictions: dict[str, NDArray[Any]],
        data: ClassificationData,
        training: TrainingResult,
        thresholds: Thresholds[ConfidenceThreshold],
    ) -> TaskReportSection:
        by_clip = ClassificationData(clip_images.one_image_per_clip(data.images, self.purposes))
        return super().report_context(predictions, by_clip, training, thresholds)


def score_clips(runner: ModelRunner, paths: Iterable[Path]) -> NDArray[Any]:
    """Scores of each clip whose images are among `paths`, n x K."""
    outputs = [
        [each for _, each in run_on_clip_images(runner, images)] for images in clip_images.group_by_clip(paths).values()
    ]
    return np.stack([max_maps_and_mean_scores(each)["scores"].ravel() for each in outputs])
