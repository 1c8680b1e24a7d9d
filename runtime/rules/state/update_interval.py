"""When an open event sends an update: at an interval, and, with `change`, only if there is something to say.

    seconds since the last message       0 … update … 2 * update … alive
    nothing changed by more than `change`   -                        update
    something did                           -    update

What a receiver may act on counts: labels, zones, counts, direction and the number of objects by any change; boxes by
the part of the frame that an edge has moved; the highest score and the highest speed by the part that they have grown.
What only runs on (the seconds, the number of the frame) and the score of a single frame do not count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from ...events.event import SubjectState
from ...inference.prediction import Prediction
from ..conditions.debounce import SLACK

_NotNegative = Annotated[float, msgspec.Meta(ge=0)]
_NOTHING = SubjectState()


class UpdateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Keys of a rule about its updates."""

    update: _NotNegative = 10.0
    """Seconds between updates of an open event; 0: only where its zones change, of `presence` none."""
    change: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    """An update is sent only if something has changed by more than this since the last message; 0: every one is."""
    alive: _NotNegative = 60.0
    """With `change`: seconds after which an update is sent although nothing has changed."""

    def __post_init__(self) -> None:
        if self.change and not self.update:
            raise ValueError("change decides about the updates at each interval, but with update = 0 there is none")
        if self.change and self.alive < self.update:
            raise ValueError(f"alive = {self.alive:g} is shorter than update = {self.update:g}")


class Reported(msgspec.Struct, frozen=True):
    """What a message says that a receiver may act on."""

    predictions: tuple[Prediction, ...]
    top_score: float
    state: SubjectState = _NOTHING
    """Of a rule about places and movement."""


class UpdateInterval:
    """Decides for one open event when its next update is due."""

    def __init__(self, settings: UpdateSettings) -> None:
        self.settings = settings
        self.sent = float("-inf")
        """Moment of the last message."""
        self.reported: Reported | None = None

    def restart(self, moment: float, reported: Reported) -> None:
        """Notes that a message was sent."""
        self.sent, self.reported = moment, reported

    def is_due(self, moment: float, report: Callable[[], Reported]) -> bool:
        """True if the interval has passed, and there is something to say.

        Args:
            moment: of the present frame
            report: tells what a message would say now; it is not asked for each frame
        """
        silent, settings = moment - self.sent + SLACK, self.settings
        if not settings.update or silent < settings.update:
            return False
        if not settings.change or self.reported is None or silent >= settings.alive:
            return True
        return has_changed(self.reported, report(), settings.change)


def has_changed(before: Reported, now: Reported, limit: float) -> bool:
    """Whether a receiver may act on the difference of two messages of an event.

    Args:
        before: what the last message said
        now: what a message would say now
        limit: fraction of the frame for boxes, of the value before for scores and speeds
    """
    if _plain_facts(before) != _plain_facts(now):
        return True
    if _has_grown(before.top_score, now.top_score, limit):
        return True
    if _has_grown(before.state.top_speed or 0.0, now.state.top_speed or 0.0, limit):
        return True
    return any(not any(_is_alike(each, other, limit) for other in before.predictions) for each in now.predictions)


def _plain_facts(reported: Reported) -> tuple[object, ...]:
    """What counts by any change."""
    state = reported.state
    return len(reported.predictions), state.zones, state.entered_zones, state.counts, state.direction


def _has_grown(before: float, now: float, limit: float) -> bool:
    return now - before > limit * abs(before)


def _is_alike(now: Prediction, before: Prediction, limit: float) -> bool:
    """Whether two predictions are of the same object in about the same place."""
    if (now.label, now.track, now.area) != (before.label, before.track, before.area):
        return False
    if now.box is None or before.box is None:
        return now.box is before.box
    edges = (
        (now.box.left, before.box.left),
        (now.box.top, before.box.top),
        (now.box.right, before.box.right),
        (now.box.bottom, before.box.bottom),
    )
    return all(abs(a - b) <= limit for a, b in edges)
