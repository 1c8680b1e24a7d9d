"""Is anything wrong? The model learns from good parts, and from known defects if there are any; others measure it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.devices import DeviceProfile
from vedette.runtime.calibration import good_scores
from vedette.runtime.evaluation.bundle_recalibration import FALSE_ALARM_RATE
from vedette.runtime.inference.prediction import PART_NOT_FOUND
from vedette.runtime.progress import Log, Progress

from ..cost import cost_limits
from ..data import aspect_ratio, corrections, few_images, part_alignment, reference_images
from ..data.image_feature_cache import ImageFeatureCache
from ..data.split import Split, audit_and_split
from ..evaluation import (
    anomaly_scoring,
    area_offsets,
    compared_designs,
    few_images_threshold,
    pixel_metrics,
    suspect_threshold,
)
from ..evaluation.anomaly_scoring import AnomalyMetrics, ImageScores
from ..evaluation.built_models import FLOAT, INT8_ONNX, BuiltModels
from ..evaluation.model_runners import ModelRunner
from ..evaluation.p_values import HeldOutScores
from ..evaluation.results import DesignChoice, Measurement
from ..evaluation.score_log_threshold import read_score_log
from ..goal.goal_tables import Goal
from ..models.design import SearchSpace, check_named_model
from ..report.anomaly_page import anomaly_context
from ..report.compression_steps import list_earlier_steps
from ..report.pareto_chart import design_chart
from ..report.task_report_section import TaskReportSection
from ..search import default_build, selection
from ..search.finalists import FinalistBuilder
from ..search.search_setup import SearchSetup
from ..search.selection import Trial
from ..search.study import DesignSearch
from ..training import design_fitting
from .anomaly_data import AnomalyData, AnomalyThresholds, AnomalyTrainingResult
from .logged_thresholds import logged_thresholds
from .task import ALL_PURPOSES

GOLDEN_PER_CLASS = 2  # golden images, good and defective each


class AnomalyTask:
    """Task `anomaly`: an anomaly model of good parts."""

    trains_for_device = True

    def __init__(self, goal: Goal, device: DeviceProfile) -> None:
        check_named_model(goal.model)
        self.goal, self.device = goal, device
        corrected = goal.data.corrections is not None
        named = {"known": goal.data.known is not None or corrected, "references": bool(goal.model.references)}
        named |= dict.fromkeys(corrections.KEPT_PURPOSES, corrected)
        self.purposes = (*ALL_PURPOSES, *(purpose for purpose, is_named in named.items() if is_named))
        self.description = "an anomaly model" if goal.model.detector == "auto" else goal.model.detector

    def split(self, base: Path, progress: Progress, log: Log) -> AnomalyData:
        score_log = read_score_log(self.goal.data.score_log, base)
        images = corrections.join_corrections(
            audit_and_split(self.goal.data, base, progress, log), self.goal.data, base, log
        )
        images = reference_images.place_references(self.goal.model.references, base / self.goal.data.good, images)
        inspector, alignment = part_alignment.fit_inspector(self.goal.inspect, images.fit, progress, log)
        area_offsets.check_areas(self.goal.inspect.areas, images.few, inspector)
        if inspector is not None:
            images = part_alignment.leave_out_unaligned(images, inspector, progress, log)
            reference_images.check_references(images)
        size, ratio = aspect_ratio.choose_input_size(self.goal.model, images.fit, inspector, log)
        masks = pixel_metrics.read_masks(images, size, inspector)  # a wrong mask is an error before training
        return AnomalyData(images, masks, size, ratio, inspector, alignment, score_log)

    def train(
        self, data: AnomalyData, setup: SearchSetup | None, folder: Path, progress: Progress, log: Log
    ) -> AnomalyTrainingResult:
        goal, images, designs = self._fitting_goal(data.images), data.images, data.designs
        if setup is not None and images.few:
            log("no search: without held-out images it could not tell which design is better")
            setup = None
        if setup is not None:
            trials, cache = self.search(data, setup, progress, log)
            builder = FinalistBuilder(goal, images, cache, setup, progress, log)
            best = builder.run(trials, self._default_trials(data))
            finalists = [finalist.trial for finalist in builder.finalists]
            training = AnomalyTrainingResult(best.model, builder.trials, finalists, best.trial, builder.yardsticks)
        else:
            trials = self._default_trials(data)
            cache = self._feature_cache(data, [trial.design.blocks for trial in trials], progress)
            if len(trials) > 1:
                trials = selection.evaluate_trials(progress(trials, "trying designs"), cache)
            chosen = default_build.choose_default(trials, goal, self.device)
            if chosen.design not in designs.models:
                fitted = design_fitting.fit_design(goal, chosen.design, images, cache, progress, folder)
                designs.models[chosen.design] = fitted
            training = AnomalyTrainingResult(designs.models[chosen.design], trials, [], chosen)
        if len(trials) > 1:
            log(f"chose {training.chosen.design}")
        model = msgspec.structs.replace(training.model, inspector=data.inspector)
        return msgspec.structs.replace(training, model=model)

    def _fitting_goal(self, images: Split) -> Goal:
        """The goal; a few images of a golden sample are varied as parts that lie alike."""
        if images.few and self.goal.model.detector == "golden" and self.goal.augment is None:
            return msgspec.structs.replace(self.goal, augment=few_images.FIXED_PARTS)
        return self.goal

    def _default_trials(self, data: AnomalyData) -> list[Trial]:
        images, model = data.images, msgspec.structs.replace(self.goal.model, input=data.size)
        model = few_images.fix_design(model, len(images.fit)) if images.few else model
        return selection.list_default_trials(model, len(images.fit), self.device)

    def search(
        self, data: AnomalyData, setup: SearchSetup, progress: Progress, log: Log
    ) -> tuple[list[Trial], ImageFeatureCache]:
        """Search for designs; returns all trials of the study and the features that they were scored on."""
        space = SearchSpace.for_goal(self.goal.model, len(data.images.fit), data.ratio)
        cache = self._feature_cache(data, space.blocks, progress)
        return DesignSearch(self.goal, space, cache, setup, log).run(), cache

    def _feature_cache(
        self, data: AnomalyData, blocks: Iterable[tuple[int, ...]], progress: Progress
    ) -> ImageFeatureCache:
        if data.designs.features is None:
            seed, chained = self.goal.data.seed, itertools.chain(*blocks)
            data.designs.features = ImageFeatureCache(data.images, data.size, chained, seed, progress, data.inspector)
        return data.designs.features

    def choose_threshold(self, models: BuiltModels, data: AnomalyData) -> AnomalyThresholds:
        target = self.goal.goal.false_alarm_rate or FALSE_ALARM_RATE
        return logged_thresholds(self._choose_on_images(models, data, target), data.score_log, models, target)

    def _choose_on_images(self, models: BuiltModels, data: AnomalyData, target: float) -> AnomalyThresholds:
        images, output = data.images, models.manifest.output("score")
        if images.few:
            design = self._default_trials(data)[0].design
            chosen = few_images_threshold.choose_thresholds(self._fitting_goal(images), design, models, images, target)
            return AnomalyThresholds(*chosen)
        groups = [images.groups[path] for path in images.threshold]
        areas = area_offsets.fit_areas(self.goal.inspect.areas, models, images.calibrate, target)

        def score(model: str, paths: list[Path]) -> NDArray[Any]:
            return area_offsets.adjust_scores(anomaly_scoring.score_images(models.runners[model], paths), areas).scores

        fp32, int8 = (score(model, images.threshold) for model in (FLOAT, INT8_ONNX))
        suspected = np.array([path in images.suspects for path in images.threshold])
        choose = suspect_threshold.choose_threshold_with_suspects
        threshold = choose(int8, suspected, output.scale, target, groups, output.highest)
        weight = threshold.effective_sample_size / threshold.images
        return AnomalyThresholds(
            known_scores=tuple(score(INT8_ONNX, images.known).tolist()),
            areas=areas,
            fp32=choose(fp32, suspected, output.scale, target, groups),
            int8=threshold,
            held_out=HeldOutScores(int8, good_scores.summarize(int8, output.scale, output.highest, weight)),
        )

    def predict(
        self, runners: dict[str, ModelRunner], data: AnomalyData, progress: Progress
    ) -> dict[str, tuple[ImageScores, ImageScores]]:
        """Scores and maps of the good and of the defective test images."""
        return anomaly_scoring.score_test_images(runners, data.images, progress)

    def compute_metrics(
        self,
        predictions: dict[str, tuple[ImageScores, ImageScores]],
        data: AnomalyData,
        training: AnomalyTrainingResult,
        thresholds: AnomalyThresholds,
    ) -> AnomalyMetrics:
        known = np.array(thresholds.known_scores)
        known += np.array(training.model.known_corrections or np.zeros(len(known)))
        metrics = anomaly_scoring.compute_anomaly_metrics(
            area_offsets.adjust_predictions(predictions, thresholds.areas),
            data.images,
            data.masks,
            thresholds.int8,
            thresholds.held_out,
            known if len(known) else None,
        )
        speedup = cost_limits.predict_reference_cost(self.device) / training.chosen.cost
        design = DesignChoice(
            parameters=msgspec.to_builtins(training.chosen.design),
            speedup=Measurement(speedup, source=cost_limits.cost_unit(self.device)),
            trials=training.trials,
            finalists=training.finalists,
            compared=compared_designs.measure_designs(
                self.goal,
                {key: each.trained_design() for key, each in training.yardsticks.items()},
                data.images,
                data.inspector,
                predictions[INT8_ONNX],
            ),
        )
        return msgspec.structs.replace(metrics, design=design, alignment=data.alignment)

    def manifest_fields(self, data: AnomalyData, thresholds: AnomalyThresholds) -> dict[str, Any]:
        labels = ("anomaly",) if data.alignment is None else ("anomaly", PART_NOT_FOUND)
        inspect = area_offsets.add_areas(data.inspector, thresholds.areas)
        return {"labels": labels, "threshold": thresholds.int8.score, "inspect": inspect}

    def golden_inputs(self, data: AnomalyData) -> list[Path]:
        images = data.images
        tested = [*images.test[:GOLDEN_PER_CLASS], *images.defect[:GOLDEN_PER_CLASS]]
        return tested or images.fit[:GOLDEN_PER_CLASS]

    def report_context(
        self,
        predictions: dict[str, tuple[ImageScores, ImageScores]],
        data: AnomalyData,
        training: AnomalyTrainingResult,
        thresholds: AnomalyThresholds,
    ) -> TaskReportSection:
        chart = design_chart(
            training.trials,
            training.finalists,
            training.chosen,
            cost_limits.derive_cost_limits(self.goal, self.device, margin=0),
            cost_limits.cost_unit(self.device),
        )
        return anomaly_context(
            data.images,
            area_offsets.adjust_predictions(predictions, thresholds.areas),
            thresholds.int8,
            thresholds.fp32,
            designs=chart,
            earlier_steps=list_earlier_steps(training.chosen.design, self.device),
            inspector=data.inspector,
            alignment=data.alignment,
        )
