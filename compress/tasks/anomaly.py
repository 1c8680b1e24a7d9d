"""Is anything wrong? Learnt from good parts alone; defective ones only measure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from vedette.devices import DeviceProfile
from vedette.runtime.evaluation.verify import Track

from ..cost import cost_limits
from ..data.feature_cache import Gallery
from ..data.split import Split, audited
from ..evaluation import anomaly_scoring, conformal_threshold, pixel_metrics
from ..evaluation.anomaly_scoring import Seen
from ..evaluation.built_models import FLOAT, INT8_ONNX, Candidate, Fitted
from ..evaluation.conformal_threshold import Threshold
from ..evaluation.model_runners import Runner
from ..goal import recipe
from ..goal.goal_file import Goal
from ..models.design import INPUT, Space
from ..report import anomaly_page, pareto_chart
from ..report.compression_steps import Stage
from ..search import selection
from ..search.finalists import Finals
from ..search.selection import Trial
from ..search.study import Effort, Search
from ..training import anomaly_fitting

FALSE_ALARM_RATE = 0.01  # where the goal does not say
_EXAMPLES = 2  # of each kind


class Anomaly:
    """The task; see above."""

    def __init__(self, goal: Goal, device: DeviceProfile) -> None:
        self.goal, self.device = goal, device
        self.size = goal.model.input or INPUT
        self.trials: list[Trial] = []
        self.what = "a detector" if goal.model.detector == "auto" else goal.model.detector
        self.finals: list[Trial] = []

    def divide(self, base: Path, track: Track, say: Callable[[str], None]) -> Split:
        images = audited(self.goal.data, base, track, say)
        self.truths = pixel_metrics.read(images, self.size)  # a mask that does not fit is said before fitting
        return images

    def parts(self, images: Split) -> dict[str, list[Path]]:
        parts = ("fit", "calibrate", "threshold", "test", "defect")
        return {part: getattr(images, part) for part in parts}

    def fit(
        self, images: Split, effort: Effort | None, folder: Path, track: Track, say: Callable[[str], None]
    ) -> Fitted:
        goal = self.goal
        if effort is not None:
            gallery = self.search(images, effort, track, say)
            finals = Finals(goal, images, gallery, effort, track, say)
            best = finals.run(self.trials)
            self.chosen, fitted = best.trial, best.fitted
            self.finals = [final.trial for final in finals.built]
        else:
            self.trials = selection.candidates(goal.model, len(images.fit), self.device)
            gallery = self._gallery(images, [trial.design.blocks for trial in self.trials], track)
            if len(self.trials) > 1:
                self.trials = selection.tried(track(self.trials, "trying detectors"), gallery)
            self.chosen = self._pruned(selection.best(self.trials))
            fitted = anomaly_fitting.fit(goal, self.chosen.design, images, gallery, track, folder)
        if len(self.trials) > 1:
            say(f"chose {self.chosen.design}")
        return fitted

    def search(self, images: Split, effort: Effort, track: Track, say: Callable[[str], None]) -> Gallery:
        space = Space.of(self.goal.model, len(images.fit))
        gallery = self._gallery(images, space.blocks, track)
        self.trials = Search(self.goal, space, gallery, effort, say).run()
        return gallery

    def _gallery(self, images: Split, blocks: Iterable[tuple[int, ...]], track: Track) -> Gallery:
        return Gallery(images, self.size, itertools.chain(*blocks), self.goal.data.seed, track)

    def _pruned(self, chosen: Trial) -> Trial:
        """The same with as many channels as the recipe leaves it."""
        prune = recipe.load(self.goal.recipe).get("prune")
        if prune is None:
            return chosen
        return Trial.of(msgspec.structs.replace(chosen.design, kept=prune.kept), self.device, chosen.auroc)

    def draw(self, candidate: Candidate, images: Split) -> Threshold:
        score = candidate.manifest.output("score")
        wished = self.goal.goal.false_alarm_rate or FALSE_ALARM_RATE
        groups = [images.groups[path] for path in images.threshold]
        highest = score.scale * (255 - score.zero_point)
        held_out = {
            name: anomaly_scoring.see(candidate.runners[name], images.threshold).scores for name in (FLOAT, INT8_ONNX)
        }
        self.float_line = conformal_threshold.choose(held_out[FLOAT], score.scale, wished, groups)
        return conformal_threshold.choose(held_out[INT8_ONNX], score.scale, wished, groups, highest)

    def see(self, runners: dict[str, Runner], images: Split, track: Track) -> dict[str, tuple[Seen, Seen]]:
        return anomaly_scoring.see_all(runners, images, track)

    def figures(self, seen: dict[str, tuple[Seen, Seen]], images: Split, line: Threshold) -> dict[str, Any]:
        return anomaly_scoring.figures(seen, images, self.truths, line) | {
            **msgspec.to_builtins(self.chosen.design),
            "macs": self.chosen.macs,
            "speedup": cost_limits.reference(self.device) / self.chosen.effort,
            "speedup_by": cost_limits.unit(self.device),
            "trials": msgspec.to_builtins(self.trials),
            "finals": msgspec.to_builtins(self.finals),
        }

    def settings(self, _images: Split, line: Threshold) -> dict[str, Any]:
        return {"labels": ("anomaly",), "threshold": line.score}

    def examples(self, images: Split) -> list[Path]:
        return [*images.test[:_EXAMPLES], *images.defect[:_EXAMPLES]]

    def evidence(self, images: Split, seen: dict[str, tuple[Seen, Seen]], line: Threshold) -> dict[str, Any]:
        designs = pareto_chart.evidence(
            self.trials,
            self.finals,
            self.chosen,
            cost_limits.of(self.goal, self.device, margin=0),
            cost_limits.unit(self.device),
        )
        found = anomaly_page.evidence(images, seen, line, self.float_line)
        return found | {"designs": designs, "before": self._before()}

    def _before(self) -> list[Stage]:
        """What the design was made from: the reference of `min_speedup`, and itself before it was pruned."""
        reference = cost_limits.REFERENCE
        network = f"EfficientNet-Lite0 to block {max(reference.blocks)} at {reference.input} pixels, float"
        stages = [Stage(title=network, effort=cost_limits.reference(self.device))]
        if self.chosen.design.kept < 1:
            whole = Trial.of(msgspec.structs.replace(self.chosen.design, kept=1.0), self.device)
            title = f"{whole.design}, int8, before pruning (predicted)"
            stages.append(Stage(title=title, effort=whole.effort, bytes=whole.bytes))
        return stages
