"""Scripted scenes: things that walk on known paths before a camera, as boxes with the truth beside them, or drawn.

A walker is where its path says at any time, so the same scene can be filmed at any rate. Its box is its feet's place
with its size; one whose box is mostly behind a nearer walker's, or behind a screen, is not detected, as with a real
detector. Boxes tremble by a fraction of the walker's size.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import msgspec
import numpy as np

from vedette.runtime import rules
from vedette.runtime.camera.frame import Frame
from vedette.runtime.config.tracker_table import TrackerSettings
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.rules import RuleContext
from vedette.runtime.tracking.tracker import Tracker

FRAME_RATES = [(5, 0.0), (10, 0.0), (30, 0.0), (5, 0.2), (10, 0.2), (30, 0.2)]
"""Frames a second, and the fraction of them that is dropped at random."""
SLOW_RATES = [(1, 0.0), (2, 0.0)]
"""For what happens slowly enough: a person moves by less than one and a half of their height between two frames."""
START = 1_700_000_000.0  # Tuesday, 2023-11-14 22:13:20 UTC
PIXELS = np.zeros((90, 160, 3), np.uint8)
LABELS = ("person", "car", "good", "unknown")
CONTEXT = RuleContext("door", "m:1:ab", 0.5, LABELS, ("good", "unknown"))


@dataclass(frozen=True)
class Walker:
    """Its feet are at (x, y) at the time t, for each (t, x, y) of its path, and on the straight way in between."""

    path: tuple[tuple[float, float, float], ...]
    label: str = "person"
    size: tuple[float, float] = (0.08, 0.3)
    score: float = 0.9

    def at(self, when):
        """Its box, or None before and after its path."""
        times = [t for t, _, _ in self.path]
        if not times[0] <= when <= times[-1]:
            return None
        leg = min(max(bisect_right(times, when), 1), len(times) - 1)
        (t0, x0, y0), (t1, x1, y1) = self.path[leg - 1], self.path[leg]
        share = (when - t0) / (t1 - t0)
        x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
        return Box(x - self.size[0] / 2, y - self.size[1], x + self.size[0] / 2, y)


@dataclass(frozen=True)
class Scene:
    """What there is to be filmed."""

    walkers: tuple[Walker, ...]
    seconds: float
    screens: tuple[Box, ...] = ()
    """Things that stand before all walkers."""
    tremble: float = 0.0
    """Standard deviation of each edge of a detected box, as a fraction of its size."""
    missed: float = 0.0
    """Fraction of detections that the detector misses."""
    false: float = 0.0
    """False detections a frame."""

    def film(self, fps, dropped=0.0, seed=0):
        """Each frame as (frame, what is detected, the truth {walker's number: box})."""
        rng = np.random.default_rng(seed)
        for number in range(round(self.seconds * fps) + 1):
            if number and rng.random() < dropped:
                continue
            when = number / fps
            there = {index: box for index, walker in enumerate(self.walkers) if (box := walker.at(when)) is not None}
            visible = {
                index: box
                for index, box in there.items()
                if not any(is_occluded(box, other) for other in self._before(index, there))
            }
            seen = [
                Prediction(self.walkers[index].label, self.walkers[index].score, self._detected(box, rng))
                for index, box in visible.items()
                if rng.random() >= self.missed
            ]
            for _ in range(rng.poisson(self.false)):
                x, y = rng.uniform(0.1, 0.9, 2)
                seen.append(Prediction("person", float(rng.uniform(0.3, 0.7)), Box(x - 0.04, y - 0.15, x + 0.04, y)))
            yield Frame("door", number, START + when, PIXELS), tuple(seen), visible

    def _before(self, index, there):
        """What is nearer to the camera than a walker: the screens, and whose feet are lower."""
        return [*self.screens, *(box for other, box in there.items() if box.bottom > there[index].bottom)]

    def _detected(self, box, rng):
        wide, high = box.right - box.left, box.bottom - box.top
        off = rng.normal(0, self.tremble, 4) * (wide, high, wide, high) if self.tremble else np.zeros(4)
        edges = np.array([box.left, box.top, box.right, box.bottom]) + off
        return Box(*(float(each) for each in edges))


def is_occluded(box, by):
    """Whether more than 60 % of a box are behind another."""
    wide = min(box.right, by.right) - max(box.left, by.left)
    high = min(box.bottom, by.bottom) - max(box.top, by.top)
    return max(wide, 0) * max(high, 0) > 0.6 * (box.right - box.left) * (box.bottom - box.top)


def oscillating_path(start, seconds, x, by, y=0.7, step=0.1):
    """The path of a walker that moves back and forth about `x`."""
    return tuple((start + step * k, x + (by if k % 2 else -by), y) for k in range(round(seconds / step)))


def event_times(events, kind, moment="taken"):
    """Seconds since START of the events of a kind."""
    return [round(getattr(event, moment) - START, 3) for event in events if event.kind == kind]


def kinds_and_frames(events):
    """The kind and the frame of each event, such as `new@2 end@5`."""
    return " ".join(f"{event.kind}@{event.frame}" for event in events)


@dataclass
class RuleRun:
    """What a rule told of a scene, in the scene's own time."""

    events: list
    walkers: dict = field(default_factory=dict)
    """Track -> the walker that it is."""

    def story(self, *more):
        """The events in order as `new 0`, `end 0`, …: kind, walker, and what else of `after` is asked for."""
        return [
            " ".join([event.kind, str(self.walkers.get(event.track, "-")), *(_text(event, name) for name in more)])
            for event in self.events
        ]

    def times(self, kind, moment="taken"):
        return event_times(self.events, kind, moment)


def without_ids(events):
    """What of them a second run must repeat: all but the ids, of which only the order is asked."""
    order = {}
    for event in events:
        order.setdefault(event.event, len(order))
    return [msgspec.structs.replace(event, id="", event=str(order[event.event])) for event in events]


def within_frames(times, expected, fps):
    """Whether each moment is met, up to a few frames later: the tracker confirms, and frames are dropped."""
    late = [time - wanted for time, wanted in zip(times, expected, strict=True)]
    return all(-1e-3 <= each <= 4 / fps for each in late)


def _text(event, name):
    value = getattr(event.after, name)
    return "+".join(value) if isinstance(value, tuple) else str(value)


def run_rule(scene, table, fps=10, dropped=0.0, seed=0, context=CONTEXT, **tracker):
    """A scene before the tracker and one rule, as the daemon runs them."""
    (played,) = run_rules(scene, (table,), fps, dropped, seed, context, **tracker)
    return played


def run_rules(scene, tables, fps=10, dropped=0.0, seed=0, context=CONTEXT, **tracker):
    """A scene before the tracker and several rules."""
    loaded = [(rules.load_rule(table, context), RuleRun([])) for table in tables]
    follower = Tracker(TrackerSettings(**tracker), context.threshold)
    walkers = {}
    for frame, seen, truth in scene.film(fps, dropped, seed):
        followed = follower.update(frame, seen)
        for each in followed:
            if each.track is not None and each.track not in walkers:
                walkers[each.track] = nearest_walker(each.box, truth)
        for rule, played in loaded:
            played.events += rule.observe(frame, followed)
    for rule, played in loaded:
        played.events += rule.close()
        played.walkers = walkers
    return [played for _, played in loaded]


def nearest_walker(box, truth):
    """The walker whose box it is."""
    middle = np.array([box.left + box.right, box.top + box.bottom]) / 2
    off = {
        index: np.abs(middle - np.array([other.left + other.right, other.top + other.bottom]) / 2).max()
        for index, other in truth.items()
    }
    return min(off, key=lambda index: off[index]) if off and min(off.values()) < 0.1 else None
