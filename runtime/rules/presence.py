"""Something is there, for as long as it is there.

    score     ...  above  above  above  between  below
    state     idle  (debounce)  open   open     closed, then silent for `cooldown`
    events                      new   (update)   end

Debounce asks for several frames in a row before it believes; hysteresis asks for a clearly lower score before it lets
go, so a score that trembles about the threshold is one event, not twenty.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..camera.frame import Frame
from ..config.configuration import Name
from ..errors import ConfigProblem
from ..events.event import PRIORITY, Event, Kind, new_id
from ..inference.prediction import Prediction
from . import Context
from .conditions.label_filter import wanted

_NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class PresenceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[rules]]` table with `use = "presence"`."""

    use: str
    name: Name = "presence"
    """The event's place in the topic."""
    label: str | None = None
    """Only predictions of this label count."""
    labels: tuple[str, ...] | None = None
    """Only predictions of these labels count; with neither: of all but `normal` ones and `unknown`."""
    threshold: float | None = None
    """A score at or above it is present; None: the bundle's threshold."""
    hysteresis: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.1
    """Gone is a score below threshold * (1 - hysteresis)."""
    debounce: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Frames in a row at or above the threshold before an event opens."""
    cooldown: _NotNegative = 0.0
    """Seconds after an event closed in which no other opens."""
    update: _NotNegative = 10.0
    """Seconds between updates of an open event; 0: none."""
    priority: Annotated[int, msgspec.Meta(ge=0, le=9)] = PRIORITY
    """What is lower gives way first where the outbox is full."""


class Presence:
    """The rule; see above."""

    Settings = PresenceSettings
    follows = False

    def __init__(self, settings: PresenceSettings, context: Context) -> None:
        self.labels = _wanted(settings, context)
        self.name = settings.name
        self.settings = settings
        self.context = context
        self.threshold = context.threshold if settings.threshold is None else settings.threshold
        self.release = self.threshold * (1 - settings.hysteresis)
        self.streak: list[float] = []
        self.open: Event | None = None
        self.last: tuple[Frame, Prediction] | None = None
        self.quiet_until = float("-inf")

    def observe(self, frame: Frame, seen: tuple[Prediction, ...]) -> list[Event]:
        best = max(
            (each for each in seen if each.label in self.labels),
            key=lambda each: each.score,
            default=None,
        )
        if self.open is not None:
            return self._while_open(self.open, frame, best)
        if best is None or best.score < self.threshold:
            self.streak.clear()
            return []
        self.streak.append(frame.taken)
        if len(self.streak) < self.settings.debounce or frame.taken < self.quiet_until:
            return []
        self.last = (frame, best)
        self.open = self._event("new", frame, best, self.streak[-self.settings.debounce])
        self.streak.clear()
        return [self.open]

    def _while_open(self, opened: Event, frame: Frame, best: Prediction | None) -> list[Event]:
        if best is None or best.score < self.release:
            return self.close()
        self.last = (frame, best)
        top = max(opened.top_score, best.score)
        due = self.settings.update and frame.taken - opened.taken >= self.settings.update
        if due:
            self.open = self._event("update", frame, best, opened.started, opened.event, top)
            return [self.open]
        self.open = msgspec.structs.replace(opened, top_score=top)
        return []

    def close(self) -> list[Event]:
        """Ends the open event, at the last frame in which it was seen."""
        self.streak.clear()
        if self.open is None or self.last is None:
            return []
        opened, (frame, best), self.open = self.open, self.last, None
        self.quiet_until = frame.taken + self.settings.cooldown
        return [self._event("end", frame, best, opened.started, opened.event, opened.top_score)]

    def _event(
        self, kind: Kind, frame: Frame, best: Prediction, started: float, event: str = "", top: float = 0.0
    ) -> Event:
        identifier = new_id()
        return Event(
            id=identifier,
            event=event or identifier,
            camera=frame.camera,
            rule=self.name,
            kind=kind,
            taken=frame.taken,
            frame=frame.number,
            started=started,
            top_score=max(top, best.score),
            predictions=(best,),
            model=self.context.model,
            priority=self.settings.priority,
        )


def _wanted(settings: PresenceSettings, context: Context) -> frozenset[str]:
    """The labels that count."""
    if settings.label is None:
        return wanted(settings.labels, context)
    if settings.labels is not None:
        raise ConfigProblem("label and labels are both set", hint="keep labels, which may name one or several")
    return wanted((settings.label,), context, "label")
