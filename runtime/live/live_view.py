"""What the daemon keeps for viewers: live frames, the history of scores, and drift that is told once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..bundle.manifest import UNKNOWN, Manifest
from ..calibration.drift_watch import DriftWatch, ProductDrift
from ..camera.frame import Frame
from ..config.configuration import Config
from ..errors import Problem
from ..inference.prediction import Prediction
from ..inference.predictor import Predictor
from ..rules import Rule
from ..rules.presence import PresenceRule
from .frame_writer import LiveFrameWriter
from .live_frame import FrameDetails
from .score_history import FLUSH_SECONDS, ScoreHistory
from .workshop_scores import WorkshopScores, write_workshop_scores

log = logging.getLogger(__name__)

WATCHED_FLUSH_SECONDS = 15.0
"""How often scores are written while somebody watches."""


class LiveView:
    """Shows one camera to viewers on this machine; nothing that goes wrong here ends the daemon.

    Args:
        settings: configuration of the camera
        manifest: of the bundle; with several products of the first one, whose scores are kept
        pipeline: makes the predictions
        rules: those that are active now
        drifts: the scores of each product
    """

    def __init__(
        self,
        settings: Config,
        manifest: Manifest,
        pipeline: Predictor,
        rules: Iterable[Rule],
        drifts: Sequence[ProductDrift],
    ) -> None:
        folder, self.model = settings.state_folder, manifest.model_id
        self.pipeline, self.region = pipeline, settings.region
        debounces = [rule.settings.debounce for rule in rules if isinstance(rule, PresenceRule)]
        self.frames = LiveFrameWriter(folder)
        self.scores = ScoreHistory(folder, self.model, manifest.threshold, min(debounces, default=1))
        self.drifts = [DriftWatch(folder, each, number) for number, each in enumerate(drifts)]
        try:
            write_workshop_scores(folder, WorkshopScores(self.model, manifest.threshold, manifest.good_scores))
        except Problem as problem:
            log.warning("viewers get no scores of the build: %s", problem.message)

    def observe(
        self,
        frame: Frame,
        manifest: Manifest,
        predictions: tuple[Prediction, ...] | None,
        rules: Iterable[Rule],
        alarm: bool,
    ) -> None:
        """Takes a frame that the daemon has processed.

        Args:
            frame: the frame
            manifest: of the bundle that is selected now
            predictions: what the rules saw; None: a behaviour model has seen too few frames
            rules: with the state after this frame
            alarm: True if an event is open in this frame
        """
        score = None if predictions is None else _score(predictions, frozenset((*manifest.normal, UNKNOWN)))
        if score is not None and manifest.model_id == self.model:
            self.scores.add(frame.time, score, alarm)
        if not self.frames.is_wanted():
            return
        active = tuple(rules)
        details = FrameDetails(
            moment=frame.moment,
            taken=frame.taken,
            number=frame.number,
            predictions=predictions or (),
            score=score,
            threshold=manifest.threshold,
            model=manifest.model_id,
            open_rules=tuple(opened for rule in active for opened in rule.open_events()),
            limit=next((rule.threshold for rule in active if isinstance(rule, PresenceRule)), None),
            region=self.region,
        )
        height, width = frame.pixels.shape[:2]
        self.frames.write(details, frame.pixels, self.pipeline.heat_map((height, width)))

    def check(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields kind and facts of a system event about the model if drift began or is over."""
        self.scores.flush_seconds = WATCHED_FLUSH_SECONDS if self.frames.readers else FLUSH_SECONDS
        for drift in self.drifts:
            yield from drift.check()

    def close(self) -> None:
        """Writes the scores and ends the connections of viewers."""
        self.scores.close()
        self.frames.close()


def _score(predictions: tuple[Prediction, ...], normal_labels: frozenset[str]) -> float:
    """The highest score of a label that raises alarms; 0: there is none."""
    return max((each.score for each in predictions if each.label not in normal_labels), default=0.0)
