"""The best designs of a search, built whole and measured as they will run.

A search tells designs apart by float features and by costs that are predicted. Its leaders are built as int8 files and
measured: on good images that nothing was fitted to (those of calibrate and threshold), plain and spoilt, and by the
bytes that they really have. The best of them by the same rule is the one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.accuracy import auroc
from vedette.runtime.backends.onnx import Onnx
from vedette.runtime.verify import Track

from . import dataset, fitting, selection, synthetic, tflite
from .backbone import input_of
from .budget import Budget
from .candidate import describe
from .dataset import Split
from .fitting import Fitted
from .gallery import EACH, SPOILT, Gallery, scaled
from .goal import Goal
from .selection import Trial


class Final(NamedTuple):
    """One of them: `trial` has the AUROC of its int8 model and its true bytes, those of the larger file."""

    trial: Trial
    fitted: Fitted


def build(
    goal: Goal, leaders: Sequence[Trial], images: Split, gallery: Gallery, track: Track, say: Callable[[str], None]
) -> list[Final]:
    """Builds and measures each."""
    held_out = [*images.calibrate, *images.threshold]
    good = list(dataset.tensors(track(held_out, "reading"), input_of(gallery.size)))
    rng = np.random.default_rng(goal.data.seed + 1)
    spoilt = synthetic.defects(good, min(SPOILT, EACH * len(good)), rng).images
    found = []
    for leader in leaders:
        fitted = fitting.fit(goal, leader.design, images, gallery, track)
        data = fitted.int8_model.SerializeToString(deterministic=True)
        backend = Onnx(data, describe(goal, fitted.int8_model), threads=1)
        size = leader.design.input
        worth = auroc(*(_scores(backend, [scaled(each, size) for each in kind]) for kind in (good, spoilt)))
        held = max(len(data), len(tflite.write(fitted.int8_model)))
        say(f"{leader.design}: int8 AUROC on spoilt pictures {worth:.3f}, {held:,} bytes")
        found.append(Final(msgspec.structs.replace(leader, auroc=worth, bytes=held), fitted))
    return found


def best(built: Sequence[Final], budget: Budget) -> Final:
    """The one by the same rule as in trials, with what was measured now."""
    winner = selection.best([final.trial for final in built], budget)
    return next(final for final in built if final.trial is winner)


def _scores(backend: Onnx, images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    return np.array([float(backend.run(image)["score"].ravel()[0]) for image in images])
