"""What a rule knows of each thing that the tracker follows.

A thing counts from the frame on in which its score first reaches `min_score`; that a later frame sees it less surely
changes nothing. While nobody sees it, it is where it was last seen, until the tracker has given it up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ...camera.frame import Frame
from ...config.polygon import Point
from ...inference.prediction import Prediction
from ..conditions.debounce import SLACK, Inertia
from ..conditions.region import Area, foot


class Thing:
    """One track."""

    def __init__(self, track: int) -> None:
        self.track = track
        self.seen: Prediction
        """As it was last seen."""
        self.taken = 0.0
        """When that was."""
        self.top_score = float("-inf")
        self.path: deque[tuple[float, Point]] = deque()
        """When its feet were where, the newest last."""
        self.inside: tuple[str, ...] = ()
        """The zones that its feet are in, by the last frame alone."""
        self.stays: dict[str, Inertia] = {}
        self.entered: list[str] = []

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones that it is in, with inertia."""
        return tuple(name for name, stay in self.stays.items() if stay.value)


class Things:
    """All that a rule counts."""

    def __init__(self, labels: frozenset[str], least: float, area: Area, inertia: float, keep: float) -> None:
        """Nothing is known yet.

        Args:
            labels: those that count
            least: score that one must once have had
            area: whose zones are told
            inertia: seconds, of the zones
            keep: seconds for which one that nobody sees is still there
        """
        self.labels, self.least, self.area, self.inertia, self.keep = labels, least, area, inertia, keep
        self.of: dict[int, Thing] = {}

    def see(self, frame: Frame, seen: Iterable[Prediction], window: float) -> list[Thing]:
        """Those that this frame shows; `window`: seconds of its path that each remembers."""
        shown = []
        for each in seen:
            if each.track is None or each.box is None or each.label not in self.labels:
                continue
            thing = self.of.setdefault(each.track, Thing(each.track))
            thing.seen, thing.taken, point = each, frame.taken, foot(each.box)
            thing.top_score = max(thing.top_score, each.score)
            thing.path.append((frame.taken, point))
            while len(thing.path) > 2 and thing.path[0][0] < frame.taken - window - SLACK:
                thing.path.popleft()
            if thing.top_score >= self.least:
                self._place(thing, point, frame.taken)
                shown.append(thing)
        return shown

    def give_up(self, taken: float) -> list[Thing]:
        """Those that have not been seen for too long; they are forgotten."""
        gone = [thing for thing in self.of.values() if taken - thing.taken > self.keep + SLACK]
        for thing in gone:
            del self.of[thing.track]
        return gone

    def counts(self) -> dict[str, int]:
        """How many are in each zone."""
        return {name: sum(name in thing.zones for thing in self.of.values()) for name in self.area.zones}

    def _place(self, thing: Thing, point: Point, taken: float) -> None:
        thing.inside = self.area.around(point)
        for name in self.area.zones:
            stay = thing.stays.setdefault(name, Inertia(self.inertia))
            if stay.show(name in thing.inside, taken) and name not in thing.entered:
                thing.entered.append(name)
