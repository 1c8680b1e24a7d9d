"""The models of a camera: one, or with `[[products]]` one for each product, all loaded before the first part.

So the line can change the product between two parts. What does not fit into the memory is told at the start, because
loading a model takes longer than a part. A bundle that cannot be run stops its own product and no other one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import Manifest
from ..bundle.release_memory import open_bundle_to_run
from ..calibration.drift import DriftMonitor
from ..calibration.drift_watch import ProductDrift
from ..camera.motion_gate import check_bundle_allows_gate
from ..config.camera_products import list_product_settings, product_index
from ..config.configuration import Config
from ..errors import BundleProblem, ConfigProblem, MachineProblem, Problem, RestartRequested, locate_errors
from ..events.event import Event
from ..inference.explanation import Explanation
from ..inference.golden_outputs import select_backend
from ..inference.heads import load_head
from ..inference.pipeline import InferencePipeline
from ..inference.prediction import Prediction
from ..inference.predictor import Predictor
from ..inference.region_of_interest import describe_region_difference
from ..line.judgement import Judge
from ..line.line_products import LineProduct
from ..process_limits import read_memory_limit, read_resident_memory
from ..rules.rule_set import RuleSet
from ..tracking.tracker import Tracker
from .model_store import ModelStore
from .probation_monitor import CHECK_SECONDS, ProbationMonitor
from .probation_start import roll_back_if_to_blame

log = logging.getLogger(__name__)

SYSTEM_BYTES = 150_000_000
"""Left to the system where the file names no limit (docs/devices.md)."""


class ProductModel:
    """The bundle of a product, ready to run, with the rules that see its predictions.

    Args:
        settings: of the camera; with `[[products]]` those of this product alone

    Raises:
        Problem: the bundle, or what the camera's file says of it, is not usable.
    """

    def __init__(self, settings: Config) -> None:
        self.settings, self.index = settings, product_index(settings)
        self.bundle = open_bundle_to_run(settings.bundle, settings.keys, settings.state_folder)
        self.manifest = self.bundle.manifest
        self.tracker = Tracker(settings.tracker, self.manifest.decision_threshold)
        head = load_head(self.manifest, self.tracker.low_threshold)
        self.judge: Judge | None = None
        with locate_errors(settings.camera_file):
            if settings.trigger is not None:
                self.judge = Judge(settings.trigger, self.manifest)
            self.backend = select_backend(self.bundle, settings.backend, settings.threads)
            self.rules = RuleSet(settings, self.manifest)
            check_bundle_allows_gate(settings.gate, self.manifest)
        self.probation = ProbationMonitor(settings, self.bundle)
        self.pipeline = self.probation.watch(InferencePipeline(self.bundle, self.backend, head, settings.region))
        if warning := describe_region_difference(settings.region, self.manifest):
            log.warning("%s: %s", settings.camera_file, warning)
        if settings.trigger is not None:
            self.backend.run(self.bundle.golden("image")[:1])  # the first part must not wait for what this allocates

    def close_rules(self) -> list[Event]:
        """Ends the open events."""
        return [event for rule in self.rules for event in rule.close()]


class _Unloaded(msgspec.Struct, frozen=True):
    """A product whose bundle cannot be run."""

    settings: Config
    problem: Problem
    release: int | None
    """The installed release that failed; None: the bundle is a path."""

    @property
    def name(self) -> str:
        trigger = self.settings.trigger
        return "" if trigger is None else trigger.product


class ProductModels:
    """The models of a camera, of which one runs at a time.

    Args:
        settings: configuration of the camera

    Raises:
        Problem: a product is configured wrong, no bundle is usable, or the memory does not suffice.
    """

    def __init__(self, settings: Config) -> None:
        self.loaded: dict[int, ProductModel] = {}
        self.unloaded: dict[int, _Unloaded] = {}
        each_product = list_product_settings(settings)
        for number, product in enumerate(each_product):
            index = product_index(product)
            try:
                self.loaded[index] = ProductModel(product)
            except (BundleProblem, ConfigProblem) as problem:
                if not settings.products:
                    raise
                self._leave_out(index, product, problem)
            if settings.products:
                _check_memory(product, number + 1, len(each_product))
        if not self.loaded:
            raise next(iter(self.unloaded.values())).problem
        self.current = self.main = next(iter(self.loaded.values()))
        self.products: Sequence[LineProduct] = tuple(self._describe(product_index(each), each) for each in each_product)
        self.pipeline: Predictor = self.main.pipeline if len(self.loaded) == 1 else SelectedProduct(self)
        self.last_check = time.monotonic()

    def _leave_out(self, index: int, settings: Config, problem: Problem) -> None:
        if isinstance(problem, ConfigProblem) and not settings.installed:
            raise problem  # a mistake in the file, and not one of a release that came later
        roll_back_if_to_blame(problem, settings)
        self.unloaded[index] = found = _Unloaded(settings, problem, _find_release(settings))
        log.error("the product %s is not loaded, its parts are errors: %s; %s", found.name, problem, problem.hint)

    def _describe(self, index: int, settings: Config) -> LineProduct:
        trigger, model = settings.trigger, self.loaded.get(index)
        name = trigger.product if trigger is not None else ""
        if model is None:
            return LineProduct(index, name, "", None)
        release, drift = str(model.manifest.release), model.pipeline.drift
        return LineProduct(index, name or model.manifest.name, release, model.judge, drift)

    def select(self, index: int) -> None:
        """From now on the model of this product runs, which is loaded."""
        self.current = self.loaded[index]

    def remember_releases(self) -> None:
        """Keeps the releases as the highest that ran, as `ProbationMonitor` does."""
        for model in self.loaded.values():
            model.probation.remember_release()

    def check(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields kind and facts of a system event if a probation ended.

        Raises:
            RestartRequested: another release of a product is current, and the next start runs it.
        """
        for model in self.loaded.values():
            yield from model.probation.check()
        if self.unloaded and time.monotonic() - self.last_check >= CHECK_SECONDS:
            self.last_check = time.monotonic()
            for each in self.unloaded.values():
                if (current := _find_release(each.settings)) != each.release and current is not None:
                    hint = "start it again; the service does so by itself"
                    raise RestartRequested(f"release {current} of {each.settings.installed} is installed", hint=hint)

    def list_manifests(self) -> list[Manifest]:
        """The manifest of each product that is loaded."""
        return [model.manifest for model in self.loaded.values()]

    def list_drifts(self) -> list[ProductDrift]:
        """The scores of each product that is loaded, in the order of the file."""
        names = {each.index: each.name for each in self.products} if len(self.products) > 1 else {}
        return [
            ProductDrift(names.get(index, ""), model.manifest.model_id, model.pipeline.drift)
            for index, model in self.loaded.items()
        ]

    def faults(self) -> dict[str, bool]:
        """Products that are not loaded, as faults in words."""
        found = self.unloaded.values()
        return {f"the product {each.name} is not loaded: {each.problem.message}": True for each in found}

    def figures(self) -> dict[str, Any]:
        """The fields of the status report: those of the first product, and the probations of all."""
        figures = self.main.pipeline.figures() | self.main.probation.figures()
        texts = [(model, model.probation.figures()["probation"]) for model in self.loaded.values()]
        if len(self.loaded) > 1:
            told = "; ".join(f"{model.manifest.name}: {text}" for model, text in texts if text is not None)
            figures["probation"] = told or None
        return figures


class SelectedProduct:
    """A predictor that runs the pipeline of the product that is selected; drift is that of the first product.

    Args:
        models: all products
    """

    def __init__(self, models: ProductModels) -> None:
        self._models = models

    @property
    def drift(self) -> DriftMonitor | None:
        """See Predictor."""
        return self._models.main.pipeline.drift

    @property
    def found(self) -> tuple[Prediction, ...]:
        """See InferencePipeline."""
        return self._models.current.pipeline.found

    def predict(self, moment: float, pixels: NDArray[Any]) -> tuple[Prediction, ...] | None:
        """See InferencePipeline."""
        return self._models.current.pipeline.predict(moment, pixels)

    def heat_map(self, frame: tuple[int, int]) -> NDArray[np.float32] | None:
        """See InferencePipeline."""
        return self._models.current.pipeline.heat_map(frame)

    def explain(self, frame: tuple[int, int]) -> Explanation | None:
        """See InferencePipeline."""
        return self._models.current.pipeline.explain(frame)

    def figures(self) -> dict[str, Any]:
        """See Predictor."""
        return self._models.main.pipeline.figures()


def _find_release(settings: Config) -> int | None:
    return ModelStore(settings.state).find_model(settings.installed).current if settings.installed else None


def _check_memory(settings: Config, loaded: int, total: int) -> None:
    """Raises MachineProblem if the daemon takes more memory than the camera's file, or the machine, allows."""
    given = settings.trigger.memory if settings.trigger is not None else None
    limit = read_memory_limit() - SYSTEM_BYTES if given is None else 1e6 * given
    taken = read_resident_memory()
    if taken > limit:
        raise MachineProblem(
            f"{settings.camera_file}: with {loaded} of {total} products the daemon takes {taken / 1e6:.0f} MB; "
            f"the limit is {limit / 1e6:.0f} MB",
            hint="fewer products on this machine, bundles with a smaller input, or a higher trigger.memory",
        )
