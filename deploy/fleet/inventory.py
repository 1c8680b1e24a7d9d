"""The boxes of a fleet, as their messages at the broker tell: `info`, `availability`, `stats`."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec

from vedette.runtime.bundle.signed_order import matches
from vedette.runtime.errors import UNREADABLE
from vedette.runtime.installation.orders.installed_products import InstalledProduct

LEVELS = ("info", "availability", "stats")
MAX_BOXES = 100_000
MAX_CAMERAS = 64
"""Cameras of a box that are counted; a box that says more is wrong."""
_MAX_TEXT = 120
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")


class Camera:
    """What one camera's daemon said last."""

    def __init__(self) -> None:
        self.availability, self.model, self.runtime, self.backend = "", "", "", ""
        self.faults: tuple[str, ...] = ()
        self.events_per_minute: float | None = None
        """Since its start; None: it has run for less than a minute."""
        self.uptime = 0.0
        self.p95_ms: float | None = None
        self.losses = 0
        """How often its connection died while this program listened."""
        self.changed = time.monotonic()
        """When the availability changed."""
        self.stats_at = float("-inf")
        """When the last figures came."""


class FleetBox:
    """What one box said last.

    Args:
        place: SITE/AREA/LINE/NAME
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.cameras = dict[str, Camera]()
        self.products = dict[str, InstalledProduct]()
        self.instance = ""

    @property
    def is_online(self) -> bool:
        """Whether a camera of it is connected."""
        return any(camera.availability == "online" for camera in self.cameras.values())

    @property
    def state(self) -> str:
        """`online`, `partly online`, `stopped` or `offline`."""
        states = {camera.availability for camera in self.cameras.values()}
        if "online" in states:
            return "online" if states == {"online"} else "partly online"
        return "stopped" if states == {"stopped"} else "offline"


class Inventory:
    """The boxes of a fleet, by place.

    Args:
        prefix: first levels of the topics
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.boxes = dict[str, FleetBox]()
        self.taken = 0
        """Messages so far."""

    def find(self, patterns: tuple[str, ...] = ()) -> list[FleetBox]:
        """The boxes whose places fit one of the patterns, sorted; without patterns: all."""
        places = sorted(self.boxes)
        return [self.boxes[each] for each in places if not patterns or any(matches(one, each) for one in patterns)]

    def take(self, topic: str, payload: bytes, retained: bool) -> None:
        """Takes a message; what is not of a box, or malformed, is ignored."""
        levels = topic.removeprefix(f"{self.prefix}/v1/").split("/")
        self.taken += 1
        if len(levels) != 6 or levels[4] not in LEVELS or not payload:
            return
        place, level, name = "/".join(levels[:4]), levels[4], levels[5]
        if not all(map(_NAME.fullmatch, (*levels[:4], name))):
            return
        if place not in self.boxes and len(self.boxes) >= MAX_BOXES:
            return
        box = self.boxes.setdefault(place, FleetBox(place))
        if name not in box.cameras and len(box.cameras) >= MAX_CAMERAS:
            return
        camera = box.cameras.setdefault(name, Camera())
        if level == "availability":
            _take_availability(camera, payload, retained)
            return
        try:
            body = msgspec.json.decode(payload, type=dict[str, Any])
        except UNREADABLE:
            return
        if level == "info":
            _take_info(box, camera, body)
        else:
            _take_stats(camera, body)


def _take_availability(camera: Camera, payload: bytes, retained: bool) -> None:
    state = _text(payload.decode(errors="replace"))
    if state == camera.availability:
        return
    camera.losses += state == "offline" and not retained
    camera.availability, camera.changed = state, time.monotonic()


def _take_info(box: FleetBox, camera: Camera, body: dict[str, Any]) -> None:
    camera.model, camera.runtime = _text(body.get("model")), _text(body.get("runtime"))
    camera.backend = _text(body.get("backend"))
    box.instance = _text(body.get("instance")) or box.instance
    if "products" in body:  # the message that follows a connection at once has none
        try:
            products = msgspec.convert(body["products"], dict[str, InstalledProduct])
        except msgspec.ValidationError:
            return
        named = [(name, product) for name, product in products.items() if _NAME.fullmatch(name)]
        box.products = {
            name: msgspec.structs.replace(product, probation=_text(product.probation), reason=_text(product.reason))
            for name, product in named[:MAX_CAMERAS]
        }


def _take_stats(camera: Camera, body: dict[str, Any]) -> None:
    events, uptime = _number(body.get("events")), _number(body.get("uptime_seconds"))
    camera.uptime = uptime or 0.0
    camera.events_per_minute = 60 * events / uptime if uptime and uptime >= 60 and events is not None else None
    latency, faults = body.get("latency_ms"), body.get("faults")
    camera.p95_ms = _number(latency.get("p95")) if isinstance(latency, dict) else None
    camera.faults = tuple(map(_text, faults[:20])) if isinstance(faults, list) else ()
    camera.stats_at = time.monotonic()


def _text(value: object) -> str:
    """What a box says, made safe to print."""
    return "".join(filter(str.isprintable, str(value)))[:_MAX_TEXT] if isinstance(value, str | int) else ""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e15 else None
