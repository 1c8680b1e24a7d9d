"""Finalists of a search: its best designs, built whole and measured as they will run.

A search compares designs by float features and by predicted costs. Its best designs are then built as int8 files and
measured: by the AUROC on good images that nothing was fitted to (those of calibrate and threshold) against the same
images with synthetic defects, and by the true size of the files. Known defects do not count here, because the models
are fitted to them. The best of them is built again with fewer channels, pruned and distilled, and the best of all by
the same rule is chosen. If its int8 model loses more AUROC than allowed, it is built again with the quantization
fallbacks, the cheapest first, until the loss is small enough.

A finalist takes half a minute or more, so it is cached beside the study, under the digest of everything that it depends
on. After an interruption it is loaded from the cache.
"""

from __future__ import annotations

import hashlib
import time
from importlib.metadata import version
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

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
from ..export import bundle_writer
from ..export.tflite import write_tflite
from ..goal.goal_tables import Goal
from ..goal.recipe import load_recipe
from ..models.design import Design
from ..models.efficientnet_lite import backbone_input_spec
from ..quantization.step_log import QuantizationStep
from ..training import design_fitting
from ..training.float_and_int8_model import FloatAndInt8Model
from . import selection
from .search_setup import SearchSetup
from .selection import Trial

CHANNEL_FRACTIONS = (0.75, 0.5, 0.25)  # shares of the channels that pruning keeps
QUANTIZATION_FALLBACKS: tuple[dict[str, Any], ...] = (
    {"bias_correction": True},
    {"bias_correction": True, "qat_steps": 200},
)
MAX_AUROC_DROP = 0.005  # AUROC that the int8 model may lose, unless the goal allows less


class CachedFinalist(msgspec.Struct, frozen=True):
    """Cache entry of a finalist."""

    auroc: float
    """AUROC of the int8 model."""
    size: int
    """Bytes of the larger int8 file."""
    models: tuple[bytes, bytes, bytes]
    """ONNX files: the float model, the int8 model, and the float reference of the int8 model."""
    steps: tuple[QuantizationStep, ...]
    auroc_drop: float = msgspec.field(default=0.0, name="lost")
    """AUROC of the float model minus that of the int8 model."""
    known_corrections: tuple[float, ...] = ()
    """See `FloatAndInt8Model`."""

    @classmethod
    def from_models(cls, auroc: float, auroc_drop: float, size: int, trained: FloatAndInt8Model) -> CachedFinalist:
        files = tuple(
            model.SerializeToString(deterministic=True)
            for model in (trained.float_model, trained.int8_model, trained.float_reference)
        )
        models = cast("tuple[bytes, bytes, bytes]", files)
        return cls(auroc, size, models, trained.steps, auroc_drop, trained.known_corrections)

    def load_trained_model(self) -> FloatAndInt8Model:
        """The trained model from the cached files."""
        float_model, int8_model, float_reference = map(onnx.ModelProto.FromString, self.models)
        return FloatAndInt8Model(
            float_model, int8_model, float_reference, self.steps, known_corrections=self.known_corrections
        )


class Finalist(NamedTuple):
    """A built and measured design: `trial` has the AUROC of its int8 model and the bytes of its larger int8 file."""

    trial: Trial
    model: FloatAndInt8Model
    auroc_drop: float
    """AUROC of the float model minus that of the int8 model."""


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

    def run(self, trials: list[Trial]) -> Finalist:
        """Build the top trials, then, while time is left, fewer channels and quantization fallbacks.

        Args:
            trials: all trials of the search

        Returns:
            The best finalist.
        """
        for trial in selection.first_pareto_trials(trials, self.setup.limits):
            if not self.finalists or time.monotonic() < self.setup.deadline:
                self.build(trial)
        unpruned = self.best().trial
        recipe = load_recipe(self.goal.recipe)
        prune = recipe.get("prune")
        for fraction in CHANNEL_FRACTIONS if prune is None else (prune.kept_share,):
            if time.monotonic() < self.setup.deadline:
                design = msgspec.structs.replace(unpruned.design, kept_share=fraction)
                self.build(Trial.for_design(design, self.setup.device))
        for fallback in QUANTIZATION_FALLBACKS if recipe.get("quantise") is None else ():
            best = self.best()
            if best.auroc_drop > self._max_auroc_drop and time.monotonic() < self.setup.deadline:
                options = " and ".join(fallback)
                self.log(f"the int8 model loses {best.auroc_drop:.4f} of the AUROC: building it again with {options}")
                self.build(best.trial, fallback)
        return self.best()

    @property
    def _max_auroc_drop(self) -> float:
        max_drop = self.goal.goal.max_drop
        return MAX_AUROC_DROP if max_drop is None else min(MAX_AUROC_DROP, max_drop / 2)

    def build(self, trial: Trial, quantization_settings: dict[str, Any] | None = None) -> None:
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
        measured = msgspec.structs.replace(trial, auroc=cached.auroc, bytes=cached.size, known=msgspec.UNSET)
        self.finalists.append(Finalist(measured, cached.load_trained_model(), cached.auroc_drop))

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
        return CachedFinalist.from_models(int8_auroc, float_auroc - int8_auroc, size, trained)

    def _cache_key(self, goal: Goal, design: Design) -> str:
        """Digest of everything that the models of a design and their measurement depend on."""
        cache = self.feature_cache
        images = [cache.trial_digest, cache.good_digest, digest_images([*self.good, *self.defective])]
        calibration_count = len(self.images.calibrate)  # the first of the held-out images
        recipe = [table for table in goal.recipe if table["use"] != "search"]  # the search time does not matter
        facts = [version("vedette"), design, recipe, goal.augment, goal.data.seed, calibration_count, *images]
        return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()[:12]

    def best(self) -> Finalist:
        """The best finalist by the rule of the trials, with the measured figures."""
        winner = selection.choose_cheapest_near_best([finalist.trial for finalist in self.finalists], self.limits)
        same_design = [finalist for finalist in self.finalists if finalist.trial.design == winner.design]
        return max(same_design, key=lambda finalist: finalist.trial.auroc or 0.0)


def _score_images(backend: OnnxBackend | FloatModel, images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    return np.array([float(backend.run(image)["score"].ravel()[0]) for image in images])
