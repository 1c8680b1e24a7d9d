"""The messages of boxes (docs/events.md) as metrics of Sparkplug devices: one device for each camera."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

from vedette.runtime.errors import UNREADABLE
from vedette.runtime.events.event_batch import split_batch

from .payload import BOOLEAN, DOUBLE, STRING, UINT64, Metric

LEVELS = ("availability/+", "info/+", "state/+", "stats/+", "evt/+/+", "batch/+")
"""Topics below a box that are read."""
MAX_RULES = 100
"""Rules of a camera that become metrics; a box that names more is wrong."""
MAX_OPEN = 1000
"""Open events of a rule that are remembered."""
MAX_BATCH = 1000
"""Events of a batch that are read."""
MAX_TEXT = 500
"""Characters of a text that a box tells."""
MAX_FIGURE = 2.0**53
LATE_SECONDS = 60.0
"""An event that is older when it comes says what was, not what is."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
_FIGURES = {
    "frames": ("Figures/Frames", UINT64),
    "events": ("Figures/Events", UINT64),
    "backlog": ("Figures/Backlog", UINT64),
    "frames_per_second": ("Figures/Frames Per Second", DOUBLE),
    "temperature": ("Figures/Temperature", DOUBLE),
    "memory_mb": ("Figures/Memory MB", DOUBLE),
    "p95": ("Figures/Latency p95 ms", DOUBLE),
}
_DATATYPES: dict[int, type[int] | type[float]] = {UINT64: int, DOUBLE: float}


class _Prediction(msgspec.Struct):
    label: str
    score: float


class _Data(msgspec.Struct):
    kind: str
    event: str
    top_score: float
    predictions: list[_Prediction] = []


class _Event(msgspec.Struct):
    time: datetime
    data: _Data


class _BatchedEvent(_Event):
    type: str


class _State(msgspec.Struct):
    open: list[str]
    faults: list[str]


class CameraMessage(msgspec.Struct, frozen=True):
    """A message of a camera."""

    device: str
    """`SITE:AREA:LINE:BOX:CAMERA`; names have no colon."""
    level: str
    rule: str = ""


def read_topic(prefix: str, topic: str) -> CameraMessage | None:
    """Whose message it is; None: of no camera."""
    levels = topic.removeprefix(f"{prefix}/v1/").split("/")
    if len(levels) not in (6, 7) or not all(map(_NAME.fullmatch, levels)):
        return None
    place, level, names = levels[:4], levels[4], levels[5:]
    if (level == "evt") != (len(names) == 2):
        return None
    return CameraMessage(":".join([*place, names[0]]), level, names[1] if level == "evt" else "")


class CameraMetrics:
    """What one camera said, as metrics.

    Args:
        device: name of the Sparkplug device
    """

    def __init__(self, device: str) -> None:
        self.is_online = False
        self.current = {"Properties/Camera": Metric("Properties/Camera", STRING, device)}
        """What holds now, by name."""
        self.rules = set[str]()
        self.open: dict[str, set[str]] = {}
        """Open events by rule."""

    def take(self, message: CameraMessage, payload: bytes, now: float) -> list[Metric]:
        """The metrics that a message tells, which are remembered; none if it is malformed.

        Args:
            message: whose it is
            payload: as it came
            now: seconds since 1970
        """
        if message.level == "availability":
            self.is_online = payload == b"online"
            return []
        metrics = self._read(message, payload, now)
        self.current |= {each.name: each for each in metrics if not each.is_historical}
        return metrics

    def _read(self, message: CameraMessage, payload: bytes, now: float) -> list[Metric]:
        try:
            if message.level == "info":
                return _take_info(msgspec.json.decode(payload, type=dict[str, Any]))
            if message.level == "state":
                return self._take_state(msgspec.json.decode(payload, type=_State))
            if message.level == "stats":
                return _take_stats(msgspec.json.decode(payload, type=dict[str, Any]))
            if message.level == "evt":
                return self._take_event(message.rule, msgspec.json.decode(payload, type=_Event), now)
            return [metric for event in split_batch(payload)[:MAX_BATCH] for metric in self._take_part(event, now)]
        except (*UNREADABLE, OverflowError):  # a time before the year 1
            return []

    def _take_state(self, state: _State) -> list[Metric]:
        faults = ", ".join(state.faults[:MAX_RULES])[:MAX_TEXT]
        metrics = [Metric("Fault", BOOLEAN, bool(faults)), Metric("Faults", STRING, faults)]
        for rule in self.rules | set(filter(_NAME.fullmatch, state.open)):
            if self._knows(rule):
                if rule not in state.open:
                    self.open.pop(rule, None)
                metrics.append(Metric(f"Rules/{rule}/Alarm", BOOLEAN, rule in state.open))
        return metrics

    def _take_part(self, payload: bytes, now: float) -> list[Metric]:
        """The metrics of one event of a batch; none if it is not of a rule, or malformed."""
        try:
            event = msgspec.json.decode(payload, type=_BatchedEvent)
            rule = event.type.removeprefix("vedette.").removesuffix(f".{event.data.kind}")
            return self._take_event(rule, event, now) if _NAME.fullmatch(rule) else []
        except (*UNREADABLE, OverflowError):
            return []

    def _take_event(self, rule: str, event: _Event, now: float) -> list[Metric]:
        if not self._knows(rule):
            return []
        data, when = event.data, max(event.time.timestamp(), 0.0)
        is_late = now - when > LATE_SECONDS
        opened = set(self.open.get(rule, ()))
        if data.kind == "end":
            opened.discard(data.event[:MAX_TEXT])
        elif len(opened) < MAX_OPEN:
            opened.add(data.event[:MAX_TEXT])
        if not is_late:
            self.open[rule] = opened
        is_alarm = data.kind != "end" if is_late else bool(opened)
        best = max(data.predictions, key=lambda each: each.score, default=None)
        metrics = [
            Metric(f"Rules/{rule}/Alarm", BOOLEAN, is_alarm),
            Metric(f"Rules/{rule}/Score", DOUBLE, data.top_score),
        ]
        if best is not None:
            metrics.append(Metric(f"Rules/{rule}/Label", STRING, best.label[:MAX_TEXT]))
        return [msgspec.structs.replace(each, milliseconds=int(1000 * when), is_historical=is_late) for each in metrics]

    def _knows(self, rule: str) -> bool:
        if len(self.rules) < MAX_RULES:
            self.rules.add(rule)
        return rule in self.rules


def _take_info(info: dict[str, Any]) -> list[Metric]:
    return [
        Metric(f"Properties/{name}", STRING, str(info.get(key, ""))[:MAX_TEXT])
        for key, name in (("model", "Model"), ("runtime", "Version"))
    ]


def _take_stats(stats: dict[str, Any]) -> list[Metric]:
    metrics = []
    latency = stats.get("latency_ms")
    given = {**stats, **({"p95": latency.get("p95")} if isinstance(latency, dict) else {})}
    for key, (name, datatype) in _FIGURES.items():
        if key in given:
            value = given[key]
            is_known = isinstance(value, int | float) and 0 <= value < MAX_FIGURE
            metrics.append(Metric(name, datatype, _DATATYPES[datatype](value) if is_known else None))
    return metrics
