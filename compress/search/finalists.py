"""The best designs of a search, built whole and measured as they will run.

A search tells designs apart by float features and by costs that are predicted. Its leaders are built as int8 files and
measured: on good images that nothing was fitted to (those of calibrate and threshold), plain and spoilt, and by the
bytes that they really have. The best of them is then built again with fewer channels, pruned and distilled, and the
best of all by the same rule is the one. Where its integers lose more than they may, it is built once more with care for
them, the cheapest care first, until they lose no more.

Each takes half a minute or more, so what came of it is kept beside the study, under the digest of all that it depends
on; after an interruption it is taken from there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.evaluation.verify import Track
from vedette.runtime.inference.backends.onnx import Onnx
from vedette.runtime.inference.float_model import Reference

from ..cost import cost_limits
from ..data import split, synthetic_defects
from ..data.feature_cache import EACH, SPOILT, Gallery, digest, scaled
from ..data.split import Split
from ..evaluation.built_models import Fitted, describe
from ..export import bundle_writer, tflite
from ..goal import recipe as techniques
from ..goal.goal_file import Goal
from ..models.design import Design
from ..models.efficientnet_lite import input_of
from ..quantization.step_log import Step
from ..training import anomaly_fitting
from . import selection
from .selection import Trial
from .study import Effort

KEPT = (0.75, 0.5, 0.25)  # shares of the channels
CARE: tuple[dict[str, Any], ...] = ({"bias_correction": True}, {"bias_correction": True, "qat_steps": 200})
DROP = 0.005  # of AUROC, that integers may lose where the goal does not say


class Kept(msgspec.Struct, frozen=True):
    """What is kept of one that was built."""

    auroc: float
    size: int
    """Of the larger file."""
    models: tuple[bytes, bytes, bytes]
    """Float, int8, and what the integers are to come near."""
    steps: tuple[Step, ...]
    lost: float = 0.0
    """AUROC of the float model, less that of the int8 one."""

    @classmethod
    def of(cls, auroc: float, lost: float, size: int, fitted: Fitted) -> Kept:
        models = (fitted.float_model, fitted.int8_model, fitted.exact)
        written = tuple(model.SerializeToString(deterministic=True) for model in models)
        return cls(auroc, size, cast("tuple[bytes, bytes, bytes]", written), fitted.steps, lost)

    def fitted(self) -> Fitted:
        float_model, int8_model, exact = map(onnx.ModelProto.FromString, self.models)
        return Fitted(float_model, int8_model, exact, self.steps)


class Final(NamedTuple):
    """One of them: `trial` has the AUROC of its int8 model and its true bytes, those of the larger file."""

    trial: Trial
    fitted: Fitted
    lost: float
    """AUROC that its integers cost."""


class Finals:
    """Built one after the other; `built` has those that are.

    Args:
        goal: what is asked
        images: how they are divided
        gallery: the pictures that designs were tried on
        effort: what may be spent
        track: wraps long loops
        say: is told what was found
    """

    def __init__(
        self, goal: Goal, images: Split, gallery: Gallery, effort: Effort, track: Track, say: Callable[[str], None]
    ) -> None:
        self.goal, self.images, self.gallery, self.effort = goal, images, gallery, effort
        self.track, self.say = track, say
        self.allowed = cost_limits.of(goal, effort.device, margin=0)
        held_out = [*images.calibrate, *images.threshold]
        self.good = list(split.tensors(track(held_out, "reading"), input_of(gallery.size)))
        rng = np.random.default_rng(goal.data.seed + 1)
        self.spoilt = synthetic_defects.defects(self.good, min(SPOILT, EACH * len(self.good)), rng).images
        self.built: list[Final] = []

    def run(self, trials: list[Trial]) -> Final:
        """The leaders; while there is time, the best of them with fewer channels, and with care; the best of all."""
        for leader in selection.leading(trials, self.effort.budget):
            if not self.built or time.monotonic() < self.effort.end:
                self.build(leader)
        whole = self.best().trial
        recipe = techniques.load(self.goal.recipe)
        prune = recipe.get("prune")
        for kept in KEPT if prune is None else (prune.kept,):
            if time.monotonic() < self.effort.end:
                self.build(Trial.of(msgspec.structs.replace(whole.design, kept=kept), self.effort.device))
        for care in CARE if recipe.get("quantise") is None else ():
            best = self.best()
            if best.lost > self._may_lose and time.monotonic() < self.effort.end:
                self.say(f"integers cost {best.lost:.4f} of the AUROC: once more with {' and '.join(care)}")
                self.build(best.trial, care)
        return self.best()

    @property
    def _may_lose(self) -> float:
        asked = self.goal.goal.max_drop
        return DROP if asked is None else min(DROP, asked / 2)

    def build(self, leader: Trial, care: dict[str, Any] | None = None) -> None:
        """Fits, quantises (with `care`, settings of the technique) and measures it, or takes what was kept of that."""
        goal = self.goal
        if care:
            goal = msgspec.structs.replace(goal, recipe=(*goal.recipe, {"use": "quantise", **care}))
        path = self.effort.folder / f"{self._digest(goal, leader.design)}.final"
        if path.exists():
            kept = msgspec.msgpack.decode(path.read_bytes(), type=Kept)
        else:
            kept = self._measured(goal, leader.design)
            bundle_writer.write(path, msgspec.msgpack.encode(kept))
        self.say(f"{leader.design}: int8 AUROC on spoilt pictures {kept.auroc:.3f}, {kept.size:,} bytes")
        known = msgspec.structs.replace(leader, auroc=kept.auroc, bytes=kept.size)
        self.built.append(Final(known, kept.fitted(), kept.lost))

    def _measured(self, goal: Goal, design: Design) -> Kept:
        fitted = anomaly_fitting.fit(goal, design, self.images, self.gallery, self.track, self.effort.folder)
        data = fitted.int8_model.SerializeToString(deterministic=True)
        manifest = describe(goal, fitted.int8_model)
        pictures = [[scaled(each, design.input) for each in kind] for kind in (self.good, self.spoilt)]
        models = Onnx(data, manifest, threads=1), Reference(fitted.float_model.SerializeToString(), manifest)
        worth, whole = (auroc(*(_scores(model, kind) for kind in pictures)) for model in models)
        held = max(len(data), len(tflite.write(fitted.int8_model)))
        return Kept.of(worth, whole - worth, held, fitted)

    def _digest(self, goal: Goal, design: Design) -> str:
        """Of all that a design's model, and what it is worth, depend on."""
        gallery = self.gallery
        pictures = [gallery.digest, gallery.all, digest([*self.good, *self.spoilt])]
        count = len(self.images.calibrate)  # of the held-out ones, the first
        recipe = [table for table in goal.recipe if table["use"] != "search"]  # how long was searched matters not
        facts = [version("vedette"), design, recipe, goal.augment, goal.data.seed, count, *pictures]
        return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()[:12]

    def best(self) -> Final:
        """The one by the same rule as in trials, with what was measured now."""
        winner = selection.best([final.trial for final in self.built], self.allowed)
        alike = [final for final in self.built if final.trial.design == winner.design]
        return max(alike, key=lambda final: final.trial.auroc or 0.0)


def _scores(backend: Onnx | Reference, images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    return np.array([float(backend.run(image)["score"].ravel()[0]) for image in images])
