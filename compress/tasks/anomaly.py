"""Is anything wrong? Learnt from good parts alone; defective ones only measure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from vedette.devices import DeviceProfile
from vedette.runtime.verify import Track

from .. import budget, fitting, localisation, measure, pareto, selection, techniques, threshold
from ..candidate import FLOAT, INT8_ONNX, Candidate, Fitted
from ..dataset import Split, audited
from ..design import INPUT, Space
from ..finals import Finals
from ..gallery import Gallery
from ..goal import Goal
from ..measure import Seen
from ..runners import Runner
from ..search import Effort, Search
from ..selection import Trial
from ..threshold import Threshold
from ..way import Stage
from . import anomaly_report

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
        self.truths = localisation.read(images, self.size)  # a mask that does not fit is said before fitting
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
            fitted = fitting.fit(goal, self.chosen.design, images, gallery, track, folder)
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
        prune = techniques.load(self.goal.recipe).get("prune")
        if prune is None:
            return chosen
        return Trial.of(msgspec.structs.replace(chosen.design, kept=prune.kept), self.device, chosen.auroc)

    def draw(self, candidate: Candidate, images: Split) -> Threshold:
        score = candidate.manifest.output("score")
        wished = self.goal.goal.false_alarm_rate or FALSE_ALARM_RATE
        groups = [images.groups[path] for path in images.threshold]
        highest = score.scale * (255 - score.zero_point)
        held_out = {name: measure.see(candidate.runners[name], images.threshold).scores for name in (FLOAT, INT8_ONNX)}
        self.float_line = threshold.choose(held_out[FLOAT], score.scale, wished, groups)
        return threshold.choose(held_out[INT8_ONNX], score.scale, wished, groups, highest)

    def see(self, runners: dict[str, Runner], images: Split, track: Track) -> dict[str, tuple[Seen, Seen]]:
        return measure.see_all(runners, images, track)

    def figures(self, seen: dict[str, tuple[Seen, Seen]], images: Split, line: Threshold) -> dict[str, Any]:
        return measure.figures(seen, images, self.truths, line) | {
            **msgspec.to_builtins(self.chosen.design),
            "macs": self.chosen.macs,
            "speedup": budget.reference(self.device) / self.chosen.effort,
            "speedup_by": budget.unit(self.device),
            "trials": msgspec.to_builtins(self.trials),
            "finals": msgspec.to_builtins(self.finals),
        }

    def settings(self, _images: Split, line: Threshold) -> dict[str, Any]:
        return {"labels": ("anomaly",), "threshold": line.score}

    def examples(self, images: Split) -> list[Path]:
        return [*images.test[:_EXAMPLES], *images.defect[:_EXAMPLES]]

    def evidence(self, images: Split, seen: dict[str, tuple[Seen, Seen]], line: Threshold) -> dict[str, Any]:
        designs = pareto.evidence(
            self.trials, self.finals, self.chosen, budget.of(self.goal, self.device, margin=0), budget.unit(self.device)
        )
        found = anomaly_report.evidence(images, seen, line, self.float_line)
        return found | {"designs": designs, "before": self._before()}

    def _before(self) -> list[Stage]:
        """What the design was made from: the reference of `min_speedup`, and itself before it was pruned."""
        network = (
            f"EfficientNet-Lite0 to block {max(budget.REFERENCE.blocks)} at {budget.REFERENCE.input} pixels, float"
        )
        stages = [Stage(title=network, effort=budget.reference(self.device))]
        if self.chosen.design.kept < 1:
            whole = Trial.of(msgspec.structs.replace(self.chosen.design, kept=1.0), self.device)
            title = f"{whole.design}, int8, before pruning (predicted)"
            stages.append(Stage(title=title, effort=whole.effort, bytes=whole.bytes))
        return stages
