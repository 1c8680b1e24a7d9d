"""What a rule tells of one thing, from beginning to end.

    the rule says, frame by frame   yes  yes  yes  …   yes     no   no   no
    believed, with inertia           -    -   yes            yes  yes   no
    messages                             new   (update)              end

A `new` goes out when the yes has lasted for the rule's inertia (and longer where the rule wants to wait, as dwelling
does), dated back in `started` to the first yes. An `update` follows when the zones have changed, or every so many
seconds. The `end` goes out when the no has lasted as long, and tells of the last frame with a yes. A no before a yes
was believed takes it back. Of a thing that no frame shows the rule says nothing, and nothing changes.

Each message tells how things are (`after`) and how the one before it told them (`before`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import msgspec

from ...camera.frame import Frame
from ...events.event import Event, Kind, State, new_id
from ...inference.prediction import Prediction
from ..conditions.debounce import SLACK, Inertia


class Sender(msgspec.Struct, frozen=True):
    """What all messages of a rule have in common."""

    rule: str
    model: str
    priority: int
    update: float
    """Seconds between updates; 0: only where zones change."""
    counts: Callable[[], dict[str, int]] = dict


class Episode:
    """One story."""

    def __init__(self, inertia: float, sender: Sender) -> None:
        self.sender = sender
        self.so = Inertia(inertia)
        self.since = 0.0
        self.top = float("-inf")
        self.event = ""
        self.told: State | None = None
        self.told_at = 0.0

    def yes(self, frame: Frame, state: State, seen: tuple[Prediction, ...], top: float) -> None:
        """It is so in this frame, as `state` and `seen` have it."""
        if not self.so.value and self.so.turning is None:
            self.since = frame.taken
        best = max(seen, key=lambda each: each.score)
        self.top = max(self.top, top, best.score)
        self.camera, self.number, self.taken, self.seen = frame.camera, frame.number, frame.taken, seen
        self.state = msgspec.structs.replace(
            state,
            label=best.label,
            score=best.score,
            box=best.box if len(seen) == 1 else None,
            seconds=round(frame.taken - self.since, 3),
        )

    def due(self) -> bool:
        """Whether there is news since the last message."""
        told, every = self.told, self.sender.update
        changed = told is not None and told.zones != self.state.zones
        return changed or (every > 0 and self.taken - self.told_at >= every - SLACK)

    def message(self, kind: Kind) -> Event:
        """Of the last frame in which it was so."""
        identifier = new_id()
        self.event = self.event or identifier
        before, after = self.told, msgspec.structs.replace(self.state, counts=self.sender.counts())
        self.told, self.told_at = after, self.taken
        return Event(
            id=identifier,
            event=self.event,
            camera=self.camera,
            rule=self.sender.rule,
            kind=kind,
            taken=self.taken,
            frame=self.number,
            started=self.since,
            top_score=self.top,
            predictions=self.seen,
            model=self.sender.model,
            priority=self.sender.priority,
            track=self.seen[0].track if len(self.seen) == 1 else None,
            before=before,
            after=after,
        )


class Episodes:
    """The stories that a rule tells at once, each by a key, as the track that it is about."""

    def __init__(self, sender: Sender, inertia: float, hold: float = 0.0) -> None:
        """`inertia`: seconds, see above; `hold`: seconds from the first yes until a story is told."""
        self.sender, self.inertia, self.hold = sender, inertia, hold
        self.of: dict[Hashable, Episode] = {}

    def judge(
        self,
        frame: Frame,
        key: Hashable,
        state: State | None,
        seen: tuple[Prediction, ...] = (),
        top: float = float("-inf"),
    ) -> list[Event]:
        """The messages that a frame brings; `state` None: it is not so. `top`: a score that it once had."""
        episode = self.of.get(key)
        if episode is None:
            if state is None:
                return []
            episode = self.of[key] = Episode(self.inertia, self.sender)
        if state is not None:
            episode.yes(frame, state, seen, top)
        believed = episode.so.show(state is not None, frame.taken)
        if state is None:
            return [] if believed else self.end(key)
        if not believed:
            return []
        if not episode.event:
            return [episode.message("new")] if frame.taken - episode.since >= self.hold - SLACK else []
        return [episode.message("update")] if episode.due() else []

    def end(self, key: Hashable) -> list[Event]:
        """The last message of a story, if it was told."""
        episode = self.of.pop(key, None)
        return [episode.message("end")] if episode is not None and episode.event else []

    def close(self) -> list[Event]:
        """The last messages of all."""
        return [event for key in list(self.of) for event in self.end(key)]
