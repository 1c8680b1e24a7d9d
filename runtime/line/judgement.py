"""From the predictions of one or several pictures of a part to its verdict. What is not known never passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isfinite
from typing import Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import UNKNOWN, Manifest
from ..camera.health import DARK_LEVEL
from ..config.trigger_table import TriggerSettings
from ..errors import ConfigProblem
from ..events.part_verdict import PartDecision, RegionVerdict
from ..inference.prediction import PART_NOT_FOUND, Prediction

_SEVERITY: tuple[PartDecision, ...] = ("accept", "warn", "reject", "error")
_SMALL = (64, 36)
_MOST_REGIONS = 16  # of a part, in its event


class Judgement(msgspec.Struct, frozen=True):
    """What one picture, or all pictures, say of a part."""

    verdict: PartDecision
    reason: str = ""
    score: float | None = None
    label: str = ""
    regions: tuple[RegionVerdict, ...] = ()


class Judge:
    """Judges parts by the thresholds of `[trigger]` and the bundle.

    Raises:
        ConfigProblem: the thresholds do not fit the bundle.
    """

    def __init__(self, settings: TriggerSettings, manifest: Manifest) -> None:
        self.normal_labels = manifest.normal
        given = settings.threshold
        self.threshold = manifest.decision_threshold if given is None else given
        self.warn = self.threshold if settings.warn is None else settings.warn
        if manifest.motion is not None:
            hint = "use a bundle that judges single pictures"
            raise ConfigProblem(f"trigger: {manifest.name} judges movement over many pictures", hint=hint)
        if self.warn > self.threshold:
            hint = f"the threshold of the bundle is {self.threshold:g}: set warn below it"
            raise ConfigProblem(f"trigger.warn: {self.warn:g} is above the threshold; nothing would warn", hint=hint)

    def judge(self, predictions: Sequence[Prediction] | None) -> Judgement:
        """The judgement on one picture.

        Args:
            predictions: of the model; None: it gave none
        """
        if predictions is None or any(not isfinite(each.score) for each in predictions):
            return Judgement("error", "model")
        if any(each.label == PART_NOT_FOUND for each in predictions):
            return Judgement("error", "part_not_found", label=PART_NOT_FOUND)
        if any(each.label == UNKNOWN for each in predictions):
            return Judgement("error", "unknown_class", label=UNKNOWN)
        findings = [each for each in predictions if each.label not in self.normal_labels]
        best = max(findings or predictions, key=lambda each: each.score, default=None)
        if best is None:
            return Judgement("accept")
        verdict = self.grade(best.score) if findings else "accept"
        return Judgement(verdict, "", best.score, best.label, self._regions(findings))

    def grade(self, score: float) -> PartDecision:
        """The verdict on a score."""
        if score >= self.threshold:
            return "reject"
        return "warn" if score >= self.warn else "accept"

    def _regions(self, findings: Sequence[Prediction]) -> tuple[RegionVerdict, ...]:
        """The highest finding of each named region, and what counts in none and has a box; the highest first."""
        found: list[RegionVerdict] = []
        named: set[str] = set()
        for each in sorted(findings, key=lambda each: -each.score):
            name, verdict = each.area or "", self.grade(each.score)
            if name not in named if name else each.box is not None and verdict != "accept":
                named.add(name)
                found.append(RegionVerdict(name, verdict, each.score, each.label, each.box))
        return tuple(found[:_MOST_REGIONS])


def combine(judgements: Sequence[Judgement], decision: Literal["worst", "vote"]) -> Judgement:
    """The judgement on a part with several pictures: the worst, or that of the majority; a tie takes the worse.

    With a vote, an error of one picture counts like the other verdicts. Of a rejected part the first picture that is
    rejected is stored, so boxes in another one are left out.
    """
    if decision == "worst":
        winner = max(judgements, key=_rank).verdict
    else:
        votes = Counter(each.verdict for each in judgements)
        winner = max(votes, key=lambda verdict: (votes[verdict], _SEVERITY.index(verdict)))
    candidates = [each for each in judgements if each.verdict == winner]
    chosen = max(candidates, key=_rank)
    if chosen is candidates[0]:
        return chosen
    regions = tuple(msgspec.structs.replace(each, box=None) for each in chosen.regions)
    return msgspec.structs.replace(chosen, regions=regions)


def is_too_dark(pixels: NDArray[np.uint8]) -> bool:
    """Whether the lightest spots of a picture are dark, as the check of the camera's health has it.

    Args:
        pixels: H x W x 3, blue-green-red
    """
    step = max(1, min(pixels.shape[0] // _SMALL[1], pixels.shape[1] // _SMALL[0]))
    gray = cv2.cvtColor(np.ascontiguousarray(pixels[::step, ::step]), cv2.COLOR_BGR2GRAY)
    return bool(np.percentile(gray, 99) < DARK_LEVEL)


def _rank(judgement: Judgement) -> tuple[int, float]:
    return _SEVERITY.index(judgement.verdict), -1.0 if judgement.score is None else judgement.score
