"""What the daemon keeps for viewers: live frames, the history of scores, and drift that is told once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..atomic_file import make_private_folder
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
from .product_scores import find_score_folder
from .score_history import FLUSH_SECONDS, ScoreHistory
from .workshop_scores import WorkshopScores, write_workshop_scores

log = logging.getLogger(__name__)

WATCHED_FLUSH_SECONDS = 15.0
"""How often scores are written while somebody watches."""


class ShownModel(Protocol):
    """The bundle of a product, with its rules."""

    @property
    def index(self) -> int:
        """Of the product, for the line."""
        ...

    @property
    def manifest(self) -> Manifest:
        """Of the bundle."""
        ...

    @property
    def rules(self) -> Iterable[Rule]:
        """Those that are active now."""
        ...


class LiveView:
    """Shows one camera to viewers on this machine; nothing that goes wrong here ends the daemon.

    Args:
        settings: configuration of the camera
        models: of all products that are loaded
        pipeline: makes the predictions
        drifts: the scores of each product
    """

    def __init__(
        self, settings: Config, models: Iterable[ShownModel], pipeline: Predictor, drifts: Sequence[ProductDrift]
    ) -> None:
        folder = settings.state_folder
        self.pipeline, self.region = pipeline, settings.region
        self.frames = LiveFrameWriter(folder)
        self.scores = {each.index: _open_history(find_score_folder(settings, each.index), each) for each in models}
        """By the product's index."""
        self.drifts = [DriftWatch(folder, each, number) for number, each in enumerate(drifts)]

    def observe(self, frame: Frame, shown: ShownModel, predictions: tuple[Prediction, ...] | None, alarm: bool) -> None:
        """Takes a frame that the daemon has processed.

        Args:
            frame: the frame
            shown: the model that is selected now, with the state of its rules after this frame
            predictions: what the rules saw; None: a behaviour model has seen too few frames
            alarm: True if an event is open in this frame
        """
        manifest = shown.manifest
        score = None if predictions is None else _score(predictions, frozenset((*manifest.normal, UNKNOWN)))
        if score is not None:
            self.scores[shown.index].add(frame.time, score, alarm)
        if not self.frames.is_wanted():
            return
        active = tuple(shown.rules)
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
        heat_map = None if frame.hidden else self.pipeline.heat_map((height, width))
        self.frames.write(details, frame.shown, heat_map)

    def check(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields kind and facts of a system event about the model if drift began or is over."""
        for history in self.scores.values():
            history.flush_seconds = WATCHED_FLUSH_SECONDS if self.frames.readers else FLUSH_SECONDS
        for drift in self.drifts:
            yield from drift.check()

    def close(self) -> None:
        """Writes the scores and ends the connections of viewers."""
        for history in self.scores.values():
            history.close()
        self.frames.close()


def _open_history(folder: Path, model: ShownModel) -> ScoreHistory:
    """The history of a product's scores, with the workshop's beside it."""
    manifest = model.manifest
    debounces = [rule.settings.debounce for rule in model.rules if isinstance(rule, PresenceRule)]
    try:
        make_private_folder(folder)
        write_workshop_scores(folder, WorkshopScores(manifest.model_id, manifest.threshold, manifest.good_scores))
    except (Problem, OSError) as problem:
        log.warning("viewers get no scores of the build: %s", problem)
    return ScoreHistory(folder, manifest.model_id, manifest.threshold, min(debounces, default=1))


def _score(predictions: tuple[Prediction, ...], normal_labels: frozenset[str]) -> float:
    """The highest score of a label that raises alarms; 0: there is none."""
    return max((each.score for each in predictions if each.label not in normal_labels), default=0.0)
