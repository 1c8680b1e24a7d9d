"""The shadow run: the old release beside the new one, on the same frames, while the new one is on probation.

Both decide about a frame: which labels score at or above the release's threshold. Labels that one lacks do not count.
The share of frames on which they decide differently must not exceed a band. That is tested after 50, 100, 200, …
compared frames, each time with the exact binomial test at one in a thousand; so a release within its band is left in
less than one of a hundred probations.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Collection, Iterable
from typing import Any

from numpy.typing import NDArray

from ..bundle.keys import Keyring
from ..bundle.local_recalibration import open_bundle
from ..calibration.independent_threshold import binomial_probability
from ..config.configuration import Config
from ..inference.golden_outputs import select_backend
from ..inference.heads import load_head
from ..inference.pipeline import InferencePipeline
from ..inference.prediction import Prediction
from ..tracking.tracker import Tracker
from .model_store import ModelStore

FIRST_LOOK = 50
"""Compared frames before the first test."""
SIGNIFICANCE = 0.001
EVERY = 5
"""The old release runs on every fifth frame, so it costs a fifth of its time."""
MIN_OLD_SCORES = 10
"""Different scores that the old release must give before an unchanging score of the new one is a fault."""
LAST_FRAMES = 1000
"""The times of so many frames are kept."""


class ShadowComparison:
    """Compares the decisions and the speed of two releases.

    Args:
        band: share of frames on which they may decide differently
        new_threshold: of the release on probation
        old_threshold: of the release before
        ignored: labels that one of them lacks
    """

    def __init__(self, band: float, new_threshold: float, old_threshold: float, ignored: Collection[str] = ()) -> None:
        self.ignored = frozenset(ignored)
        self.band, self.new_threshold, self.old_threshold = band, new_threshold, old_threshold
        self.compared = self.different = 0
        self.next_look = FIRST_LOOK
        self.new_scores: set[float] = set()
        self.old_scores: set[float] = set()
        self.new_seconds: deque[float] = deque(maxlen=LAST_FRAMES)
        self.old_seconds: deque[float] = deque(maxlen=LAST_FRAMES)

    def add(self, new: Iterable[Prediction], old: Iterable[Prediction], new_seconds: float, old_seconds: float) -> None:
        """Takes the predictions of both for one frame, and how long each took."""
        new, old = tuple(new), tuple(old)
        self.compared += 1
        decisions = decide(new, self.new_threshold) ^ decide(old, self.old_threshold)
        self.different += bool(decisions - self.ignored)
        for scores, predictions in ((self.new_scores, new), (self.old_scores, old)):
            if len(scores) < MIN_OLD_SCORES:
                scores.update(each.score for each in predictions)
        self.new_seconds.append(new_seconds)
        self.old_seconds.append(old_seconds)

    def find_fault(self) -> str:
        """What is wrong with the new release, in words; empty: nothing, or it is not time to look."""
        if self.compared < self.next_look:
            return ""
        self.next_look *= 2
        if len(self.new_scores) == 1 and len(self.old_scores) >= MIN_OLD_SCORES:
            return f"the same score on {self.compared} frames that differ"
        fewer = binomial_probability(self.different - 1, self.compared, self.band)
        if 1 - fewer < SIGNIFICANCE:
            share = f"{self.different / self.compared:.0%} of {self.compared} frames"
            return f"it decides differently on {share}; at most {self.band:.0%} may differ"
        return ""

    def slowdown(self) -> float:
        """How many times as long as the old release the new one takes: ratio of the medians."""
        return statistics.median(self.new_seconds) / statistics.median(self.old_seconds)


def decide(predictions: Iterable[Prediction], threshold: float) -> frozenset[str]:
    """The labels that score at or above the threshold."""
    return frozenset(each.label for each in predictions if each.score >= threshold)


class OldRelease:
    """The release before, loaded beside the new one.

    Raises:
        Problem: it does not run here any more.
    """

    def __init__(self, settings: Config, name: str, release: int) -> None:
        path = ModelStore(settings.state).release_path(name, release)
        bundle = open_bundle(path, Keyring.read(settings.keys))
        manifest = bundle.manifest
        self.threshold, self.labels = manifest.decision_threshold, manifest.labels
        self.can_skip_frames = manifest.motion is None
        backend = select_backend(bundle, settings.backend, settings.threads)
        head = load_head(manifest, Tracker(settings.tracker, self.threshold).low_threshold)
        self.pipeline = InferencePipeline(bundle, backend, head, settings.region)

    def predict(self, moment: float, pixels: NDArray[Any]) -> tuple[tuple[Prediction, ...] | None, float]:
        """The predictions for a frame, and the seconds that they took."""
        started = time.perf_counter()
        return self.pipeline.predict(moment, pixels), time.perf_counter() - started
