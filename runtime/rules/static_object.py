"""The rules `left_object` and `removed_object`: a bag in the hall, a picture gone from the wall. They need no detector.

Both look for a patch of the frame that differs from the background (state/background_model.py) and is static for
`seconds`. If the outline of the patch is an edge now and was none before, an object was left; in the reverse case an
object was removed. The score of the event says how clearly: 0.5 is undecided.

People who stand still are patches, too. With `ignore = ["person"]`, if the bundle has that label, seconds do not count
within their boxes; otherwise `seconds` must be longer than people wait. A patch starts to count when the fast average
has followed it, about a second after the object was put down. An object in front of a busy pattern, or a gap that looks
like an object (a hole in a white wall), is reported the wrong way round. An object that is moved is one removed and one
left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Annotated, ClassVar

import cv2
import msgspec
import numpy as np

from ..camera.frame import Frame
from ..errors import ConfigProblem
from ..events.event import Event, SubjectState
from ..inference.prediction import Box, Prediction, foot_point
from . import RuleContext
from .conditions.label_filter import select_labels
from .rule_base import AreaRuleSettings, RuleBase
from .state.background_model import BackgroundModel
from .state.gray_image import Mask
from .state.recent_boxes import RecentBoxes

_LEAST_MEMORY = 60.0  # seconds for which boxes of ignored labels are remembered
_LARGEST_DOUBTFUL = 0.25  # of the frame: a box below the bundle's threshold that is larger is not believed
_Positive = Annotated[float, msgspec.Meta(gt=0)]


class StaticObjectSettings(AreaRuleSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "left_object"` or `use = "removed_object"`."""

    min_score: float | None = 0.6
    """Least score, 0.5…1."""
    seconds: _Positive = 20.0
    """Seconds after which a static change is reported."""
    absorb: _Positive = 600.0
    """Seconds after which it becomes part of the background, and the event ends."""
    learn: _Positive = 30.0
    """Seconds after a start in which the background is learned."""
    contrast: Annotated[float, msgspec.Meta(gt=0, le=255)] = 20.0
    """Difference in gray levels that counts as a change."""
    min_area: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.001
    """Smallest area of an object, as a fraction of the frame."""
    ignore: tuple[str, ...] = ()
    """Changes within boxes of these labels do not count."""


class _StaticObjectRule(RuleBase, ABC):
    Settings = StaticObjectSettings
    needs_tracks = False
    needs_boxes = False
    label: ClassVar[str]

    def __init__(self, settings: StaticObjectSettings, context: RuleContext) -> None:
        if settings.absorb <= settings.seconds:
            hint = f"make it longer than seconds, which is {settings.seconds:g}"
            raise ConfigProblem(f"absorb: after {settings.absorb:g} s nothing would be left to report", hint=hint)
        super().__init__(settings, context)
        self.settings, self.least_score = settings, settings.min_score or 0.0
        self.labels = select_labels(settings.labels, context) if settings.labels is not None else None
        self.ignored = select_labels(settings.ignore, context, "ignore") if settings.ignore else frozenset()
        self.background = BackgroundModel(settings.seconds, settings.absorb, settings.contrast, settings.learn)
        self.threshold = context.threshold
        self.seen_people = RecentBoxes(max(settings.seconds, _LEAST_MEMORY))
        self.patches: dict[int, tuple[Box, str]] = {}
        self.patch_count = 0

    def observe(self, frame: Frame, predictions: tuple[Prediction, ...]) -> list[Event]:
        events = self.close() if self.time_went_back(frame) else []
        ignored_boxes = [each.box for each in predictions if each.box is not None and self._is_ignored(each, each.box)]
        static_mask = self.background.update(frame, ignored_boxes)
        self.seen_people.note(frame.moment, ignored_boxes)
        if not self.schedule.is_active(frame.taken):
            self.background.reset()
            return events + self.close()
        reported: dict[int, tuple[SubjectState, Prediction]] = {}
        for blob, box in find_blobs(static_mask, self.settings.min_area):
            zones = self.area.zones_at(foot_point(box))
            if not zones:
                continue
            number = self._patch_number(box)
            label = self._label_at(box, predictions)
            score = self.score_from_edges(self.background.edge_ratio(blob))
            if self._is_reported(number):
                label = label or self.patches[number][1]
            elif self._is_nothing_new(blob, box, score) or label is None:
                continue
            reported[number] = (SubjectState(zones=zones, entered_zones=zones), Prediction(label, round(score, 4), box))
            self.patches[number] = (box, label)
        for number in [*self.patches]:
            state, prediction = reported.get(number, (None, None))
            predictions_there = () if prediction is None else (prediction,)
            events += self.lifecycles.update(frame, number, state, predictions_there)
            if number not in self.lifecycles.open_events:
                del self.patches[number]
        return events

    def close(self) -> list[Event]:
        self.patches.clear()
        return self.lifecycles.close()

    @abstractmethod
    def score_from_edges(self, edges: float) -> float:
        """The score of the rule's event, from BackgroundModel.edge_ratio."""

    def _is_ignored(self, prediction: Prediction, box: Box) -> bool:
        """A box of the ignored labels. One with a low score counts too, for somebody half hidden, unless large."""
        if prediction.label not in self.ignored:
            return False
        area = (box.right - box.left) * (box.bottom - box.top)
        return prediction.score >= self.threshold or area <= _LARGEST_DOUBTFUL

    def _is_nothing_new(self, blob: Mask, box: Box, score: float) -> bool:
        """What goes already, is only another light (and is learned then), is too weak, or was somebody."""
        if self.background.is_over(blob) or self.background.take_in_light(blob):
            return True
        return score < self.least_score or self.seen_people.any_like(box)

    def _is_reported(self, number: int) -> bool:
        return number in self.lifecycles.open_events and bool(self.lifecycles.open_events[number].event)

    def _patch_number(self, box: Box) -> int:
        """The number of the patch that was in this place before, or a new number."""
        for number, (known, _) in self.patches.items():
            if covers_half(known, box) or covers_half(box, known):
                return number
        self.patch_count += 1
        return self.patch_count

    def _label_at(self, box: Box, predictions: tuple[Prediction, ...]) -> str | None:
        """The label of an object in this place; None: none that counts."""
        if self.labels is None:
            return self.label
        return next(
            (each.label for each in predictions if each.label in self.labels and covers_half(each.box, box)), None
        )


class LeftObjectRule(_StaticObjectRule):
    """Reports objects that were left."""

    label = "left_object"

    def score_from_edges(self, edges: float) -> float:
        return edges


class RemovedObjectRule(_StaticObjectRule):
    """Reports objects that were removed."""

    label = "removed_object"

    def score_from_edges(self, edges: float) -> float:
        return 1 - edges


def find_blobs(mask: Mask, min_area: float) -> Iterator[tuple[Mask, Box]]:
    """Each connected patch that covers at least the fraction `min_area` of the frame, with its box."""
    if not mask.any():
        return
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3)))
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(closed)
    height, width = mask.shape
    for number in range(1, count):
        left, top, wide, high, area = (int(each) for each in stats[number])
        if area >= min_area * height * width:
            box = Box(left / width, top / height, (left + wide) / width, (top + high) / height)
            yield numbers == number, box


def covers_half(outer: Box | None, inner: Box) -> bool:
    """True if at least half of `inner` lies in `outer`."""
    if outer is None:
        return False
    wide = min(outer.right, inner.right) - max(outer.left, inner.left)
    high = min(outer.bottom, inner.bottom) - max(outer.top, inner.top)
    whole = (inner.right - inner.left) * (inner.bottom - inner.top)
    return max(wide, 0.0) * max(high, 0.0) >= whole / 2
