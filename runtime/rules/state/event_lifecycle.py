"""The lifecycle of an event: new, update, end.

    condition, frame by frame       yes  yes  yes  …   yes     no   no   no
    debounced by `inertia`           -    -   yes            yes  yes   no
    messages                             new   (update)              end

`new` is sent once the condition has lasted for the rule's `inertia` (and longer if the rule waits, as `dwell` does);
its `started` is the first frame with the condition. `update` follows when the zones change, or at the rule's interval
(update_interval.py).
`end` is sent once the condition has been absent for `inertia`, and describes the last frame with it. A condition that
ends before it was debounced sends nothing. Frames that do not show the object change nothing.

Each message holds the state now (`after`) and the state of the message before it (`before`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import msgspec

from ...camera.frame import Frame, FrameTime
from ...events.event import Event, Kind, SubjectState, new_event_id
from ...inference.prediction import Prediction
from ..conditions.debounce import SLACK, Debounce
from .update_interval import Reported, UpdateInterval, UpdateSettings


class EventTemplate(msgspec.Struct, frozen=True):
    """The fields that all events of a rule share."""

    rule: str
    model: str
    priority: int
    updates: UpdateSettings
    counts: Callable[[], dict[str, int]]
    present_time: Callable[[], FrameTime]
    """Time of the newest frame."""


class EventLifecycle:
    """One event from new to end."""

    def __init__(self, debounce_seconds: float, template: EventTemplate) -> None:
        self.template = template
        self.condition = Debounce(debounce_seconds)
        self.started = FrameTime(0.0, 0.0)
        self.top_score = float("-inf")
        self.event = ""
        self.last_state: SubjectState | None = None
        self.interval = UpdateInterval(template.updates)

    def observe_active(
        self, frame: Frame, state: SubjectState, predictions: tuple[Prediction, ...], top_score: float
    ) -> None:
        """Takes a frame in which the condition holds, with its state and predictions."""
        if not self.condition.value and self.condition.changing_since is None:
            self.started = frame.time
        best = max(predictions, key=lambda each: each.score)
        self.top_score = max(self.top_score, top_score, best.score)
        self.camera, self.frame_number, self.time, self.predictions = (
            frame.camera,
            frame.number,
            frame.time,
            predictions,
        )
        self.state = msgspec.structs.replace(
            state,
            label=best.label,
            score=best.score,
            box=best.box if len(predictions) == 1 else None,
            seconds=round(frame.moment - self.started.moment, 3),
        )

    def is_update_due(self) -> bool:
        """True if the zones changed since the last message, or the update interval says so."""
        last = self.last_state
        moved = last is not None and last.zones != self.state.zones
        return moved or self.interval.is_due(self.time.moment, self._reported)

    def _reported(self) -> Reported:
        """What a message would say now."""
        state = msgspec.structs.replace(self.state, counts=self.template.counts())
        return Reported(self.predictions, self.top_score, state)

    def make_event(self, kind: Kind) -> Event:
        """A message about the last frame in which the condition held."""
        identifier = new_event_id()
        self.event = self.event or identifier
        before, reported = self.last_state, self._reported()
        self.last_state = reported.state
        self.interval.restart(self.time.moment, reported)
        now = self.template.present_time()
        return Event(
            id=identifier,
            event=self.event,
            camera=self.camera,
            rule=self.template.rule,
            kind=kind,
            taken=self.time.by_clock_at(now),
            frame=self.frame_number,
            started=self.started.by_clock_at(now),
            top_score=self.top_score,
            predictions=self.predictions,
            model=self.template.model,
            priority=self.template.priority,
            track=self.predictions[0].track if len(self.predictions) == 1 else None,
            before=before,
            after=reported.state,
        )


class EventLifecycles:
    """The open events of a rule, each under a key such as its track."""

    def __init__(self, template: EventTemplate, debounce_seconds: float, min_seconds: float = 0.0) -> None:
        """Takes the seconds of the debounce, and the seconds from the first frame until `new` is sent."""
        self.template, self.debounce_seconds, self.min_seconds = template, debounce_seconds, min_seconds
        self.open_events: dict[Hashable, EventLifecycle] = {}

    def update(
        self,
        frame: Frame,
        key: Hashable,
        state: SubjectState | None,
        predictions: tuple[Prediction, ...],
        top_score: float = float("-inf"),
    ) -> list[Event]:
        """The messages that a frame causes.

        Args:
            frame: the frame
            key: of the event
            state: None: the condition does not hold
            predictions: predictions that the event is about
            top_score: highest score so far, if it is known from elsewhere
        """
        lifecycle = self.open_events.get(key)
        if lifecycle is None:
            if state is None:
                return []
            lifecycle = self.open_events[key] = EventLifecycle(self.debounce_seconds, self.template)
        if state is not None:
            lifecycle.observe_active(frame, state, predictions, top_score)
        is_active = lifecycle.condition.update(state is not None, frame.moment)
        if state is None:
            return [] if is_active else self.end(key)
        if not is_active:
            return []
        if not lifecycle.event:
            return (
                [lifecycle.make_event("new")]
                if frame.moment - lifecycle.started.moment >= self.min_seconds - SLACK
                else []
            )
        return [lifecycle.make_event("update")] if lifecycle.is_update_due() else []

    def end(self, key: Hashable) -> list[Event]:
        """The `end` message of an event, if `new` was sent."""
        lifecycle = self.open_events.pop(key, None)
        return [lifecycle.make_event("end")] if lifecycle is not None and lifecycle.event else []

    def close(self) -> list[Event]:
        """The `end` messages of all events."""
        return [event for key in list(self.open_events) for event in self.end(key)]
