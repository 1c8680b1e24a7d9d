"""Finalists of a search: its best designs, built whole and measured as they will run.

A search compares designs by float features and by predicted costs. Its best designs are then built as int8 files and
measured: by the AUROC on good images that nothing was fitted to (those of calibrate and threshold) against the same
images with synthetic defects, and by the true size of the files. Known defects do not count here, because the models
are fitted to them. The best of them is built again with fewer channels, pruned and distilled, and the best of all by
the same rule is chosen. If its int8 model loses more AUROC than allowed, it is built again with the quantization
fallbacks, the cheapest first, until the loss is small enough. A finalist whose two int8 files differ by more than a
step, or do not load (file_parity.py), is left out, unless all are; the report names it.

A finalist takes half a minute or more, so it is cached beside the study, under the digest of everything that it depends
on. After an interruption it is loaded from the cache.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.distribution import installed_version
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference.backends.onnx import OnnxBackend
from vedette.runtime.inference.float_model import FloatModel
from vedette.runtime.progress import Log, Progress

from ..cost import cost_limits
from ..data import split
from ..data.image_feature_cache import (
    ImageFeatureCache,
    digest_images,
    make_evaluation_defects,
    resize_image,
)
from ..data.split import Split
from ..evaluation.built_models import draft_manifest
from ..evaluation.compared_designs import TrainedDesign
from ..evaluation.file_parity import find_fault
from ..export import bundle_writer
from ..export.tflite import write_tflite
from ..goal.goal_tables import Goal
from ..goal.recipe import load_recipe
from ..models.design import Design
from ..models.efficientnet_lite import backbone_input_spec
from ..training import design_fitting
from ..training.float_and_int8_model import FloatAndInt8Model
from . import default_build, selection
from .default_build import ExpectedLosses
from .finalist_cache import CachedFinalist
from .search_setup import SearchSetup
from .selection import Trial

CHANNEL_FRACTIONS = (0.75, 0.5, 0.25)  # shares of the channels that pruning keeps
QUANTIZATION_FALLBACKS: tuple[dict[str, Any], ...] = (
    {"bias_correction": True},
    {"bias_correction": True, "qat_steps": 200},
)
MAX_AUROC_DROP = 0.005  # AUROC that the int8 model may lose, unless the goal allows less
PARITY_IMAGES = 24  # good ones and defective ones each; the chosen design is compared on every test image
CACHE_FORMAT = 2  # part of the key: entries of another format are not read


class Finalist(NamedTuple):
    """A built and measured design: `trial` has the AUROC of its int8 model and the bytes of its larger int8 file."""

    trial: Trial
    model: FloatAndInt8Model
    auroc_drop: float
    """AUROC of the float model minus that of the int8 model."""

    def trained_design(self) -> TrainedDesign:
        """The finalist, to be measured on the test images."""
        return TrainedDesign(self.trial.design, self.trial.cost, self.model)


class FinalistBuilder:
    """Builds finalists one after the other, and collects them in `finalists`.

    Args:
        goal: the goal file
        images: the split of the images
        feature_cache: features and synthetic defects of the trials
        setup: time, folder, device and cost limits
        progress: shows the progress of long loops
        log: receives progress messages
    """

    def __init__(
        self,
        goal: Goal,
        images: Split,
        feature_cache: ImageFeatureCache,
        setup: SearchSetup,
        progress: Progress,
        log: Log,
    ) -> None:
        self.goal, self.images, self.feature_cache, self.setup = goal, images, feature_cache, setup
        self.progress, self.log = progress, log
        self.limits = cost_limits.derive_cost_limits(goal, setup.device, margin=0)
        held_out = [*images.calibrate, *images.threshold]
        spec = backbone_input_spec(feature_cache.size)
        self.good = list(split.model_inputs(progress(held_out, "reading"), spec, feature_cache.inspector))
        rng = np.random.default_rng(goal.data.seed + 1)
        self.defective = make_evaluation_defects(self.good, rng).images
        self.finalists: list[Finalist] = []
        self.trials: list[Trial] = []
        """The trials of the search and those of a build without one."""
        self.yardsticks: dict[str, Finalist] = {}
        """The build without a search and the most accurate design of the trials, by their key in `measured`."""

    def run(self, trials: list[Trial], defaults: list[Trial]) -> Finalist:
        """Build the default design and the most accurate one, then cheap ones near the default, while time is left.

        Args:
            trials: the trials of the search
            defaults: the trials of a build without a search; those that are not in `trials` are evaluated

        Returns:
            The best finalist.
        """
        self.trials = [*trials, *default_build.evaluate_missing(defaults, trials, self.feature_cache)]
        designs = {trial.design for trial in defaults}
        evaluated = [trial for trial in self.trials if trial.design in designs]
        default = default_build.choose_default(evaluated, self.goal, self.setup.device)
        unpruned = msgspec.structs.replace(default.design, kept_share=1.0)
        scaled = default_build.scale_design(unpruned, {trial.design.input for trial in trials}, self.setup.device)
        self.trials += default_build.evaluate_missing(scaled, self.trials, self.feature_cache)
        self.expected = ExpectedLosses(self.trials, unpruned)
        accurate = max(self.trials, key=selection.utility)
        for key, trial in ((default_build.KEY, default), (default_build.MOST_ACCURATE_KEY, accurate)):
            self.yardsticks[key] = self._find(trial.design) or self.build(trial)
        self._build_cheap_designs()
        self._build_pruned(self.best().trial)
        self._build_with_fallbacks()
        return self.best()

    def _build_cheap_designs(self) -> None:
        """Build the cheapest design near the default one by the trials; if its int8 model is not, dearer ones."""
        losses = {trial: self.expected.of_design(trial.design) for trial in self.trials}
        for number in range(selection.FINALIST_COUNT):
            is_possible = any(trial.limit_excess(self.limits) <= 0 for trial in losses)
            if not losses or (number and (time.monotonic() > self.setup.deadline or not is_possible)):
                return
            trial = default_build.choose_cheapest(losses, self.setup.limits)
            finalist = self._find(trial.design) or self.build(trial)
            if not finalist.trial.left_out and self._expected_loss(finalist) <= default_build.MAX_LOSS:
                return
            losses = {t: loss for t, loss in losses.items() if t.cost > default_build.NEXT_COST * trial.cost}

    def _build_pruned(self, unpruned: Trial) -> None:
        """Build a design with fewer and fewer channels, until the int8 model is not near the default one any more."""
        prune = load_recipe(self.goal.recipe).get("prune")
        for fraction in CHANNEL_FRACTIONS if prune is None else (prune.kept_share,):
            if time.monotonic() < self.setup.deadline:
                design = msgspec.structs.replace(unpruned.design, kept_share=fraction)
                finalist = self._find(design) or self.build(Trial.for_design(design, self.setup.device))
                if self._expected_loss(finalist) > default_build.MAX_LOSS and self.limits == selection.NO_LIMITS:
                    return

    def _find(self, design: Design) -> Finalist | None:
        """The first finalist of a design; None if it was not built."""
        return next((finalist for finalist in self.finalists if finalist.trial.design == design), None)

    def _expected_loss(self, finalist: Finalist) -> float:
        """AUROC that a finalist is expected to lose on real defects; what pruning loses counts in full."""
        whole = msgspec.structs.replace(finalist.trial.design, kept_share=1.0)
        unpruned = self._find(whole) or finalist
        measured = [selection.utility(each.trial) for each in (self.yardsticks[default_build.KEY], unpruned, finalist)]
        by_pruning, in_all = measured[1] - measured[2], measured[0] - measured[1]
        return by_pruning + self.expected.by_size(whole, in_all) + self.expected.at_same_size(whole)

    def _build_with_fallbacks(self) -> None:
        """Build the best design with better quantization if its int8 model loses too much."""
        for fallback in QUANTIZATION_FALLBACKS if load_recipe(self.goal.recipe).get("quantise") is None else ():
            best = self.best()
            if best.auroc_drop > self._max_auroc_drop and time.monotonic() < self.setup.deadline:
                options = " and ".join(fallback)
                self.log(f"the int8 model loses {best.auroc_drop:.4f} of the AUROC: building it again with {options}")
                self.build(best.trial, fallback)

    @property
    def _max_auroc_drop(self) -> float:
        max_drop = self.goal.goal.max_drop
        return MAX_AUROC_DROP if max_drop is None else min(MAX_AUROC_DROP, max_drop / 2)

    def build(self, trial: Trial, quantization_settings: dict[str, Any] | None = None) -> Finalist:
        """Fit, quantize and measure a design, or load it from the cache, and append it to `finalists`.

        Args:
            trial: the design with its cost
            quantization_settings: settings of the recipe's `quantise` step; None for those of the goal
        """
        goal = self.goal
        if quantization_settings:
            goal = msgspec.structs.replace(goal, recipe=(*goal.recipe, {"use": "quantise", **quantization_settings}))
        path = self.setup.folder / f"{self._cache_key(goal, trial.design)}.final"
        if path.exists():
            cached = msgspec.msgpack.decode(path.read_bytes(), type=CachedFinalist)
        else:
            cached = self._fit_and_measure(goal, trial.design)
            bundle_writer.write_output(path, msgspec.msgpack.encode(cached))
        self.log(f"{trial.design}: int8 AUROC on synthetic defects {cached.auroc:.3f}, {cached.size:,} bytes")
        if cached.left_out:
            self.log(f"{trial.design} is left out: {cached.left_out}")
        self.finalists.append(Finalist(cached.measured(trial), cached.load_trained_model(), cached.auroc_drop))
        return self.finalists[-1]

    def _fit_and_measure(self, goal: Goal, design: Design) -> CachedFinalist:
        trained = design_fitting.fit_design(
            goal, design, self.images, self.feature_cache, self.progress, self.setup.folder
        )
        int8_file = trained.int8_model.SerializeToString(deterministic=True)
        manifest = draft_manifest(goal, trained.int8_model)
        images = [[resize_image(image, design.input) for image in group] for group in (self.good, self.defective)]
        float_file = trained.float_model.SerializeToString()
        runners = OnnxBackend(int8_file, manifest, threads=1), FloatModel(float_file, manifest)
        int8_auroc, float_auroc = (auroc(*(_score_images(runner, group) for group in images)) for runner in runners)
        size = max(len(int8_file), len(write_tflite(trained.int8_model)))
        left_out = find_fault(goal, trained, [image for group in images for image in group[:PARITY_IMAGES]])
        return CachedFinalist.from_models(int8_auroc, float_auroc - int8_auroc, size, trained, left_out)

    def _cache_key(self, goal: Goal, design: Design) -> str:
        """Digest of everything that the models of a design and their measurement depend on."""
        cache = self.feature_cache
        images = [cache.trial_digest, cache.good_digest, digest_images([*self.good, *self.defective])]
        calibration_count = len(self.images.calibrate)  # the first of the held-out images
        recipe = [table for table in goal.recipe if table["use"] != "search"]  # the search time does not matter
        facts = [installed_version(), design, recipe, goal.augment, goal.data.seed, calibration_count, *images]
        facts.append(CACHE_FORMAT)
        return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()[:12]

    def best(self) -> Finalist:
        """The best finalist by the rule of the trials, with the measured figures, of those that may be chosen.

        If no two files agree, all may be: the gate of the build then refuses the best one.
        """
        allowed = [finalist for finalist in self.finalists if not finalist.trial.left_out] or self.finalists
        losses = {finalist.trial: self._expected_loss(finalist) for finalist in allowed}
        winner = default_build.choose_cheapest(losses, self.limits)
        same_design = [finalist for finalist in allowed if finalist.trial.design == winner.design]
        return max(same_design, key=lambda finalist: finalist.trial.auroc or 0.0)


def _score_images(backend: OnnxBackend | FloatModel, images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    return np.array([float(backend.run(image)["score"].ravel()[0]) for image in images])
