"""Something was left, or is gone: a bag in the hall, a picture from the wall. No detector need know it.

Both are a patch of the picture that differs from what it was (`background.py`) and stands still for `seconds`. Where
the patch's outline is an edge now and was none before, something was left; where it was one before, something is
gone. The event's score says how clearly: 0.5 is half and half.

People who stand still are patches too. With `ignore = ["person"]`, where the bundle has such a label, no seconds count
within their boxes; without it `seconds` must be longer than people wait. A patch begins to count when the quick
average has followed it, about a second after the thing was put down. A thing put down in front of a busy pattern, or
a gap that looks like a thing (a hole in a white wall), is told the wrong way round; a thing that is moved is one gone
and one left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import cv2
import msgspec
import numpy as np

from ..camera.frame import Frame
from ..errors import ConfigProblem
from ..events.event import Event, State
from ..inference.prediction import Box, Prediction
from . import Context
from .conditions.label_filter import wanted
from .conditions.region import foot
from .rule_base import AreaSettings, Post
from .state.background_model import Background, Mask

_Positive = Annotated[float, msgspec.Meta(gt=0)]


class StaticObjectSettings(AreaSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "left_object"` or `use = "removed_object"`."""

    min_score: float | None = 0.6
    """How clear it must be, 0.5…1."""
    seconds: _Positive = 20.0
    """For which it must have stood there, or been gone."""
    absorb: _Positive = 600.0
    """Seconds after which it belongs to the place, and the event ends."""
    learn: _Positive = 30.0
    """Seconds after a start in which it learns the place."""
    contrast: Annotated[float, msgspec.Meta(gt=0, le=255)] = 20.0
    """Grey levels by which it differs from what was there."""
    min_area: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.001
    """Fraction of the picture; what is smaller does not count."""
    ignore: tuple[str, ...] = ()
    """Where a prediction of one of these labels is, nothing counts."""


class _StaticObject(Post):
    Settings = StaticObjectSettings
    follows = False
    boxes = False
    label: ClassVar[str]

    def __init__(self, settings: StaticObjectSettings, context: Context) -> None:
        if settings.absorb <= settings.seconds:
            hint = f"make it longer than seconds, which is {settings.seconds:g}"
            raise ConfigProblem(f"absorb: after {settings.absorb:g} s nothing would be left to tell of", hint=hint)
        super().__init__(settings, context)
        self.settings = settings
        self.labels = wanted(settings.labels, context) if settings.labels is not None else None
        self.ignored = wanted(settings.ignore, context, "ignore") if settings.ignore else frozenset()
        self.background = Background(settings.seconds, settings.absorb, settings.contrast, settings.learn)
        self.patches: dict[int, tuple[Box, str]] = {}
        self.numbers = 0

    def observe(self, frame: Frame, seen: tuple[Prediction, ...]) -> list[Event]:
        events = self.close() if self.back(frame) else []
        veils = [each.box for each in seen if each.box is not None and each.label in self.ignored]
        standing = self.background.show(frame, veils)
        if not self.schedule.covers(frame.taken):
            self.background.forget()
            return events + self.close()
        there: dict[int, tuple[State, Prediction]] = {}
        for blob, box in blobs(standing, self.settings.min_area):
            zones = self.area.around(foot(box))
            if not zones:
                continue
            number = self._number(box)
            label = self._called(box, seen)
            score = self.certainty(self.background.edges(blob))
            if self._told(number):
                label = label or self.patches[number][1]
            elif label is None or score < (self.settings.min_score or 0.0):
                continue
            there[number] = (State(zones=zones, entered_zones=zones), Prediction(label, round(score, 4), box))
            self.patches[number] = (box, label)
        for number in [*self.patches]:
            state, prediction = there.get(number, (None, None))
            shown = () if prediction is None else (prediction,)
            events += self.episodes.judge(frame, number, state, shown)
            if number not in self.episodes.of:
                del self.patches[number]
        return events

    def close(self) -> list[Event]:
        self.patches.clear()
        return self.episodes.close()

    def certainty(self, edges: float) -> float:
        """How sure it is that something was left, or is gone, by `Background.edges`."""
        raise NotImplementedError

    def _told(self, number: int) -> bool:
        return number in self.episodes.of and bool(self.episodes.of[number].event)

    def _number(self, box: Box) -> int:
        """Of the patch that was there before, or a new one."""
        for number, (known, _) in self.patches.items():
            if covers(known, box) or covers(box, known):
                return number
        self.numbers += 1
        return self.numbers

    def _called(self, box: Box, seen: tuple[Prediction, ...]) -> str | None:
        """The label of what is there; None: of none that counts."""
        if self.labels is None:
            return self.label
        return next((each.label for each in seen if each.label in self.labels and covers(each.box, box)), None)


class LeftObject(_StaticObject):
    """The rule for what was left; see above."""

    label = "left_object"

    def certainty(self, edges: float) -> float:
        return edges


class RemovedObject(_StaticObject):
    """The rule for what is gone; see above."""

    label = "removed_object"

    def certainty(self, edges: float) -> float:
        return 1 - edges


def blobs(mask: Mask, least: float) -> Iterator[tuple[Mask, Box]]:
    """Each connected patch that is at least the fraction `least` of the picture, and its box."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3)))
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(closed)
    height, width = mask.shape
    for number in range(1, count):
        left, top, wide, high, area = (int(each) for each in stats[number])
        if area >= least * height * width:
            box = Box(left / width, top / height, (left + wide) / width, (top + high) / height)
            yield numbers == number, box


def covers(one: Box | None, other: Box) -> bool:
    """Whether at least half of `other` lies in `one`."""
    if one is None:
        return False
    wide = min(one.right, other.right) - max(one.left, other.left)
    high = min(one.bottom, other.bottom) - max(one.top, other.top)
    whole = (other.right - other.left) * (other.bottom - other.top)
    return max(wide, 0.0) * max(high, 0.0) >= whole / 2
