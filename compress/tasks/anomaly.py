"""Is anything wrong? Learnt from good parts alone; defective ones only measure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import onnx

from vedette.runtime.verify import Track

from .. import dataset, fitting, localisation, measure, selection, threshold
from ..candidate import INT8_ONNX, Candidate
from ..dataset import Split
from ..goal import Goal
from ..measure import Seen
from ..runners import Runner
from ..threshold import Threshold
from . import anomaly_report

FALSE_ALARM_RATE = 0.01  # where the goal does not say
_EXAMPLES = 2  # of each kind


class Anomaly:
    """The task; see above."""

    def __init__(self, goal: Goal) -> None:
        self.goal = goal
        self.trials = selection.candidates(goal.model)
        self.what = "a detector" if len(self.trials) > 1 else self.trials[0].detector

    def divide(self, base: Path, track: Track, say: Callable[[str], None]) -> Split:
        images = dataset.audited(self.goal.data, base, track, say)
        self.truths = localisation.read(
            images, self.goal.model.input
        )  # a mask that does not fit is said before fitting
        return images

    def parts(self, images: Split) -> dict[str, list[Path]]:
        parts = ("fit", "calibrate", "threshold", "test", "defect")
        return {part: getattr(images, part) for part in parts}

    def fit(self, images: Split, track: Track, say: Callable[[str], None]) -> tuple[onnx.ModelProto, onnx.ModelProto]:
        fitted = fitting.fit(self.goal, images, self.trials, track, say)
        self.trials, self.chosen = fitted.trials, fitted.chosen
        return fitted.float_model, fitted.int8_model

    def draw(self, candidate: Candidate, images: Split) -> Threshold:
        held_out = measure.see(candidate.runners[INT8_ONNX], images.threshold)
        score = candidate.manifest.output("score")
        return threshold.choose(
            held_out.scores,
            step=score.scale,
            wished=self.goal.goal.false_alarm_rate or FALSE_ALARM_RATE,
            groups=[images.groups[path] for path in images.threshold],
            highest=score.scale * (255 - score.zero_point),
        )

    def see(self, runners: dict[str, Runner], images: Split, track: Track) -> dict[str, tuple[Seen, Seen]]:
        return measure.see_all(runners, images, track)

    def figures(self, seen: dict[str, tuple[Seen, Seen]], images: Split, line: Threshold) -> dict[str, Any]:
        return measure.figures(seen, images, self.truths, line) | {
            "detector": self.chosen.detector,
            "blocks": list(self.chosen.blocks),
            "macs": self.chosen.macs,
            "trials": msgspec.to_builtins(self.trials),
        }

    def settings(self, _images: Split, line: Threshold) -> dict[str, Any]:
        return {"labels": ("anomaly",), "threshold": line.score}

    def examples(self, images: Split) -> list[Path]:
        return [*images.test[:_EXAMPLES], *images.defect[:_EXAMPLES]]

    def evidence(self, images: Split, seen: dict[str, tuple[Seen, Seen]], line: Threshold) -> dict[str, Any]:
        return anomaly_report.evidence(images, seen, line)
