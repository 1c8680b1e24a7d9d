"""The rule `presence`: a score is at or above the threshold.

    score     ...  above  above  above  between  below
    state     idle  (debounce)  open   open     closed, then silent for `cooldown`
    events                      new   (update)   end

Debounce needs several frames in a row above the threshold before an event opens. Hysteresis needs a clearly lower score
before it closes. So a score that fluctuates around the threshold makes one event, not twenty.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..camera.frame import Frame, FrameTime
from ..config.configuration import Name
from ..errors import ConfigProblem
from ..events.event import DEFAULT_PRIORITY, Event, Kind, new_event_id
from ..inference.prediction import Prediction
from . import RuleContext
from .conditions.label_filter import select_labels
from .open_event import OpenEvent
from .rule_base import NotNegative, Priority
from .state.update_interval import Reported, UpdateInterval, UpdateSettings


class PresenceSettings(UpdateSettings, frozen=True, forbid_unknown_fields=True):
    """One `[[rules]]` table with `use = "presence"`."""

    use: str
    name: Name = "presence"
    """Name of the rule, in the topic of its events."""
    label: str | None = None
    """Only predictions of this label count."""
    labels: tuple[str, ...] | None = None
    """Only predictions of these labels count. Without `label` and `labels`: all but `normal` ones and `unknown`."""
    threshold: float | None = None
    """An event opens at this score; None: the bundle's threshold."""
    hysteresis: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.1
    """An event closes below threshold * (1 - hysteresis)."""
    debounce: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Frames in a row at or above the threshold before an event opens."""
    cooldown: NotNegative = 0.0
    """Seconds after the end of an event in which no other one opens."""
    priority: Priority = DEFAULT_PRIORITY
    """Events of lower priority are dropped first if the outbox is full."""


class PresenceRule:
    """Reports predictions for as long as their score lasts."""

    Settings = PresenceSettings
    needs_tracks = False

    def __init__(self, settings: PresenceSettings, context: RuleContext) -> None:
        self.labels = _select_labels(settings, context)
        self.name = settings.name
        self.settings = settings
        self.context = context
        self.threshold = context.threshold if settings.threshold is None else settings.threshold
        self.release = self.threshold * (1 - settings.hysteresis)
        self.streak: list[FrameTime] = []
        self.open: Event | None = None
        self.last: tuple[Frame, Prediction] | None = None
        self.started: FrameTime
        """Time of the frame in which the open event began."""
        self.quiet_until = float("-inf")  # moment
        self.interval = UpdateInterval(settings)
        self.present_time: FrameTime
        """Time of the newest frame, by which the times of events are given."""

    def observe(self, frame: Frame, predictions: tuple[Prediction, ...]) -> list[Event]:
        self.present_time = frame.time
        best = max(
            (each for each in predictions if each.label in self.labels),
            key=lambda each: each.score,
            default=None,
        )
        if self.open is not None:
            return self._while_open(self.open, frame, best)
        if best is None or best.score < self.threshold:
            self.streak.clear()
            return []
        self.streak.append(frame.time)
        if len(self.streak) < self.settings.debounce or frame.moment < self.quiet_until:
            return []
        self.last = (frame, best)
        self.started = self.streak[-self.settings.debounce]
        self.interval.restart(frame.moment, Reported((best,), best.score))
        self.open = self._event("new", frame, best)
        self.streak.clear()
        return [self.open]

    def _while_open(self, opened: Event, frame: Frame, best: Prediction | None) -> list[Event]:
        if best is None or best.score < self.release:
            return self.close()
        self.last = (frame, best)
        top = max(opened.top_score, best.score)
        reported = Reported((best,), top)
        if self.interval.is_due(frame.moment, lambda: reported):
            self.interval.restart(frame.moment, reported)
            self.open = self._event("update", frame, best, opened.event, top)
            return [self.open]
        self.open = msgspec.structs.replace(opened, top_score=top)
        return []

    def close(self) -> list[Event]:
        """Ends the open event, dated to the last frame above the threshold."""
        self.streak.clear()
        if self.open is None or self.last is None:
            return []
        opened, (frame, best), self.open = self.open, self.last, None
        self.quiet_until = frame.moment + self.settings.cooldown
        return [self._event("end", frame, best, opened.event, opened.top_score)]

    def open_events(self) -> list[OpenEvent]:
        """The open event: its score in the last frame, and the threshold at which it opened."""
        if self.open is None or self.last is None:
            return []
        _, best = self.last
        return [
            OpenEvent(
                rule=self.name,
                event=self.open.event,
                since=self.started.by_clock_at(self.present_time),
                quantity="score",
                measured=best.score,
                limit=self.threshold,
                label=best.label,
                zones=() if best.area is None else (best.area,),
                track=best.track,
            )
        ]

    def _event(self, kind: Kind, frame: Frame, best: Prediction, event: str = "", top: float = 0.0) -> Event:
        identifier = new_event_id()
        return Event(
            id=identifier,
            event=event or identifier,
            camera=frame.camera,
            rule=self.name,
            kind=kind,
            taken=frame.time.by_clock_at(self.present_time),
            frame=frame.number,
            started=self.started.by_clock_at(self.present_time),
            top_score=max(top, best.score),
            predictions=(best,),
            model=self.context.model,
            priority=self.settings.priority,
        )


def _select_labels(settings: PresenceSettings, context: RuleContext) -> frozenset[str]:
    """The labels that count."""
    if settings.label is None:
        return select_labels(settings.labels, context)
    if settings.labels is not None:
        raise ConfigProblem("label and labels are both set", hint="keep labels, which may name one or several")
    return select_labels((settings.label,), context, "label")
