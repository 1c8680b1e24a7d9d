"""The probation of a release in the daemon that runs it: it is watched frame by frame, accepted, or rolled back.

What ends the process (a crash, a hang that the watchdog ends, an exit) is counted at the next start. The rest is seen
here: scores that are no numbers, too slow, other decisions than the release before, an unchanging score.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..bundle.release_memory import remember_release
from ..config.configuration import Config
from ..errors import Problem, RestartRequested
from ..inference.pipeline import InferencePipeline
from ..inference.prediction import Prediction
from ..inference.predictor import Predictor
from .camera_bundle import cameras_of
from .probation_record import AS_FAST, SLOWER, Probation, ProbationRecord
from .probation_start import find_record, only_logged, restart_after
from .release_fit import CurrentRelease
from .shadow_comparison import EVERY, FIRST_LOOK, LAST_FRAMES, OldRelease, ShadowComparison
from .watched_pipeline import WatchedPipeline

log = logging.getLogger(__name__)

_Run = tuple[tuple[Prediction, ...], float]

CHECK_SECONDS = 5.0
"""How often the daemon looks whether another release became current."""


class ProbationMonitor:
    """Watches the release of one camera.

    Args:
        settings: configuration of the camera
        bundle: the bundle that runs
    """

    def __init__(self, settings: Config, bundle: Bundle) -> None:
        self.settings, self.manifest = settings, bundle.manifest
        self.record, self.current = find_record(settings), CurrentRelease(settings, bundle)
        if overwritten := self.current.describe_overwritten():
            log.warning("%s", overwritten)
        self.probation = self.record.running() if self.record is not None else None
        if self.probation is not None and settings.camera in self.probation.passed:
            self.probation = None
        self.remembered = False
        self.old: OldRelease | None = None
        self.comparison: ShadowComparison | None = None
        self.frames, self.fault = 0, ""
        self.milliseconds: deque[float] = deque(maxlen=LAST_FRAMES)
        self.started, self.last_check = time.monotonic(), float("-inf")
        if self.record is not None and self.probation is not None:
            self._load_old_release(self.record.name, self.probation)

    def remember_release(self) -> None:
        """Keeps the release as the highest that ran, unless a camera has it on probation: then it may have to go."""
        if self.remembered or self._is_in_question():
            return
        remember_release(self.manifest, self.settings.state_folder)
        self.remembered = True

    def _is_in_question(self) -> bool:
        """The release is on probation, or was left while this daemon started."""
        if self.record is None:
            return False
        return self.record.running() is not None or self.current.find_other() is not None

    def watch(self, pipeline: InferencePipeline) -> Predictor:
        """The pipeline to use: on probation one that shows each frame to this object."""
        return pipeline if self.probation is None else WatchedPipeline(pipeline, self.predict)

    def predict(self, moment: float, pixels: NDArray[Any], new: InferencePipeline) -> tuple[Prediction, ...] | None:
        """The predictions of the release for a frame, which are judged; on every fifth frame beside those before it.

        Which of the two runs first alternates: the second one finds the frame in the processor's caches.
        """
        self.frames += 1
        is_compared, old_first = self.frames % EVERY == 0, self.frames % (2 * EVERY) == 0
        old = self._run_old(moment, pixels) if is_compared and old_first else None
        started = time.perf_counter()
        predictions = new.predict(moment, pixels)
        seconds = time.perf_counter() - started
        if is_compared and not old_first:
            old = self._run_old(moment, pixels)
        if self.probation is not None and not self.fault:
            self._judge(predictions, seconds, old)
        return predictions

    def _run_old(self, moment: float, pixels: NDArray[Any]) -> _Run | None:
        """The predictions of the release before, and the seconds that they took; None: it is not compared."""
        if self.old is None or self.probation is None:
            return None
        try:
            predictions, seconds = self.old.predict(moment, pixels)
        except Exception:  # the release that runs is fine
            log.exception("release %d is not compared any more", self.probation.previous)
            self.old = None
            return None
        return predictions or (), seconds

    def _judge(self, new: tuple[Prediction, ...] | None, seconds: float, old: _Run | None) -> None:
        self.milliseconds.append(1e3 * seconds)
        if not all(math.isfinite(each.score) for each in new or ()):
            self.fault = "a score that is no number"
        elif old is not None and new is not None and self.comparison is not None:
            self.comparison.add(new, old[0], seconds, old[1])
            self.fault = self.comparison.find_fault()
        if not self.fault and self.frames % FIRST_LOOK == 0:
            self.fault = self._describe_slowness()
        if self.fault:
            self.last_check = float("-inf")  # not to wait for it

    def check(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields kind and facts of a system event if a probation ended; a disk that does not take that is logged.

        Raises:
            RestartRequested: another release is current, and the next start runs it.
        """
        now = time.monotonic()
        if self.record is not None and now - self.last_check >= CHECK_SECONDS:
            self.last_check = now
            with only_logged():
                yield from self._check(self.record, now)

    def _check(self, record: ProbationRecord, now: float) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.probation is not None and self.fault:
            if (ended := record.roll_back(self.fault)) is not None:
                raise restart_after(record, ended)
            self.probation = None
        if self.probation is not None and now - self.started >= 60 * self.probation.conditions.minutes:
            record.note_passed(self.settings.camera, cameras_of(record.name, self.settings.device_file.parent))
            self.probation = self.old = self.comparison = None
        self.remember_release()
        if (probation := record.untold()) is not None:
            yield self._describe_outcome(probation)
            record.mark_told(probation)
        if (current := self.current.find_other()) is not None:
            hint = "start it again; the service does so by itself"
            raise RestartRequested(f"release {current} of {record.name} is installed", hint=hint)

    def figures(self) -> dict[str, Any]:
        """The field of the status report."""
        if self.probation is None:
            return {"probation": None}
        minutes = self.probation.conditions.minutes - (time.monotonic() - self.started) / 60
        compared = 0 if self.comparison is None else self.comparison.compared
        different = 0 if self.comparison is None else self.comparison.different
        end = datetime.now(UTC).astimezone() + timedelta(minutes=max(0.0, minutes))
        text = f"release {self.probation.release} until {end:%H:%M}, {max(0.0, minutes):.1f} more minutes; "
        text += f"each {EVERY}th frame is compared: {different} of {compared} decided differently from release "
        return {"probation": f"{text}{self.probation.previous}"}

    def _load_old_release(self, name: str, probation: Probation) -> None:
        try:
            old = OldRelease(self.settings, name, probation.previous)
        except Problem as problem:
            log.warning(
                "release %d is not compared with %d: %s", probation.release, probation.previous, problem.message
            )
            return
        if old.can_skip_frames:
            self.old = old
            band = probation.conditions.band
            ignored = {*self.manifest.labels} ^ {*old.labels}
            self.comparison = ShadowComparison(band, self.manifest.decision_threshold, old.threshold, ignored)

    def _describe_slowness(self) -> str:
        if self.probation is None:
            return ""
        slowdown = self.comparison.slowdown() if self.comparison is not None and self.comparison.compared else 0.0
        limit = self.probation.conditions.max_ms or self.manifest.goal.get("max_ms")
        if limit is not None:
            p95 = float(np.percentile(self.milliseconds, 95))
            if p95 <= limit or (self.probation.conditions.max_ms is None and 0 < slowdown <= AS_FAST):
                return ""
            return f"{p95:.1f} ms for 95 % of the frames; at most {limit:g} are allowed"
        return f"{slowdown:.1f} times as slow as the release before" if slowdown > SLOWER else ""

    @staticmethod
    def _describe_outcome(probation: Probation) -> tuple[str, dict[str, Any]]:
        if probation.outcome == "accepted":
            return "accepted", {"release": probation.release, "previous": probation.previous}
        facts = {"release": probation.previous, "left": probation.release, "reason": probation.reason}
        return "rolled_back", facts
