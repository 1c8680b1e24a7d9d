"""The best designs of a search, built whole and measured as they will run.

A search tells designs apart by float features and by costs that are predicted. Its leaders are built as int8 files and
measured: on good images that nothing was fitted to (those of calibrate and threshold), plain and spoilt, and by the
bytes that they really have. The best of them is then built again with fewer channels, pruned and distilled, and the
best of all by the same rule is the one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.accuracy import auroc
from vedette.runtime.backends.onnx import Onnx
from vedette.runtime.verify import Track

from . import budget, dataset, fitting, selection, synthetic, techniques, tflite
from .backbone import input_of
from .candidate import describe
from .dataset import Split
from .design import Design
from .fitting import Fitted
from .gallery import EACH, SPOILT, Gallery, scaled
from .goal import Goal
from .search import Effort
from .selection import Trial

KEPT = (0.75, 0.5, 0.25)  # shares of the channels


class Final(NamedTuple):
    """One of them: `trial` has the AUROC of its int8 model and its true bytes, those of the larger file."""

    trial: Trial
    fitted: Fitted


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
        self.allowed = budget.of(goal, effort.device, margin=0)
        held_out = [*images.calibrate, *images.threshold]
        self.good = list(dataset.tensors(track(held_out, "reading"), input_of(gallery.size)))
        rng = np.random.default_rng(goal.data.seed + 1)
        self.spoilt = synthetic.defects(self.good, min(SPOILT, EACH * len(self.good)), rng).images
        self.built: list[Final] = []

    def run(self, trials: list[Trial]) -> Final:
        """The leaders of the trials, then, while there is time, the best of them with fewer channels; the best one."""
        for leader in selection.leading(trials, self.effort.budget):
            if not self.built or time.monotonic() < self.effort.end:
                self.build(leader)
        whole = self.best().trial
        prune = techniques.load(self.goal.recipe).get("prune")
        for kept in KEPT if prune is None else (prune.kept,):
            if time.monotonic() < self.effort.end:
                self.build(Trial.of(msgspec.structs.replace(whole.design, kept=kept), self.effort.device))
        return self.best()

    def build(self, leader: Trial) -> None:
        """Fits, quantises and measures it."""
        design, size = leader.design, leader.design.input
        checkpoint = self.effort.folder / f"{_digest(self.gallery, design)}.pt"
        fitted = fitting.fit(self.goal, design, self.images, self.gallery, self.track, checkpoint)
        data = fitted.int8_model.SerializeToString(deterministic=True)
        backend = Onnx(data, describe(self.goal, fitted.int8_model), threads=1)
        worth = auroc(*(_scores(backend, [scaled(each, size) for each in kind]) for kind in (self.good, self.spoilt)))
        held = max(len(data), len(tflite.write(fitted.int8_model)))
        self.say(f"{design}: int8 AUROC on spoilt pictures {worth:.3f}, {held:,} bytes")
        self.built.append(Final(msgspec.structs.replace(leader, auroc=worth, bytes=held), fitted))

    def best(self) -> Final:
        """The one by the same rule as in trials, with what was measured now."""
        winner = selection.best([final.trial for final in self.built], self.allowed)
        return next(final for final in self.built if final.trial is winner)


def _digest(gallery: Gallery, design: Design) -> str:
    """Of what a distillation depends on."""
    return hashlib.sha256(msgspec.json.encode([gallery.digest, design])).hexdigest()[:12]


def _scores(backend: Onnx, images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    return np.array([float(backend.run(image)["score"].ravel()[0]) for image in images])
