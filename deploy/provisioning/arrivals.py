"""Which boxes of a table have come up, by their retained messages `info` and `availability`.

`info` alone may have been left by an earlier life of the box: it counts if the box is connected now, or if it names the
instance of the card.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from vedette.runtime.errors import UNREADABLE

from .fleet_table import Box

MAX_BOXES = 100_000
"""Boxes outside the table that are remembered."""
MAX_CAMERAS = 64
"""Cameras of a box, and bundles, that are remembered."""
_LEVEL = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")  # of a topic: a plain name, which may be printed
_MAX_TEXT = 80  # characters of what a box says that are shown


class Arrival(msgspec.Struct, frozen=True):
    """What a box says about itself."""

    place: str
    """SITE/AREA/LINE/NAME."""
    runtime: str = ""
    bundles: tuple[str, ...] = ()
    """NAME release N."""
    address: str = ""
    instance: str = ""


class Arrivals:
    """Which boxes of a table have come up.

    Args:
        boxes: the table
        prefix: first levels of the topics
        instances: instance of each card, where known
    """

    def __init__(self, boxes: tuple[Box, ...], prefix: str, instances: dict[str, str]) -> None:
        self.expected = {f"{box.site}/{box.area}/{box.line}/{box.name}": box.name for box in boxes}
        self.prefix, self.instances = prefix, instances
        self.heard = dict[str, Arrival]()
        self.online = dict[str, set[str]]()
        """Names of the cameras that are connected, by place."""

    @property
    def arrived(self) -> list[str]:
        """Places of the boxes that have come up, in the order of the table."""
        return [place for place in self.expected if self.has_come_up(place)]

    @property
    def waiting(self) -> list[str]:
        """Places of the boxes that have not come up, in the order of the table."""
        return [place for place in self.expected if not self.has_come_up(place)]

    def has_come_up(self, place: str) -> bool:
        """Whether a box is there now: it has said what it is, and is connected or has the instance of its card."""
        arrival = self.heard.get(place)
        if arrival is None:
            return False
        wanted = self.instances.get(self.expected.get(place, ""), "")
        if arrival.instance and wanted:
            return arrival.instance == wanted
        return bool(self.online.get(place))

    def take(self, topic: str, payload: bytes) -> str:
        """Takes an `info` or an `availability` message.

        Returns:
            A line that says what is new; empty if nothing is.
        """
        levels = topic.removeprefix(f"{self.prefix}/v1/").split("/")
        if len(levels) < 6 or levels[4] not in ("info", "availability") or not all(map(_LEVEL.fullmatch, levels)):
            return ""
        place, camera = "/".join(levels[:4]), levels[5]
        if place not in self.expected and place not in self.heard.keys() | self.online.keys() and self._is_full:
            return ""
        before, was_up = self.heard.get(place), self.has_come_up(place)
        if levels[4] == "availability":
            cameras = self.online.setdefault(place, set())
            cameras.discard(camera)
            if payload == b"online" and len(cameras) < MAX_CAMERAS:
                cameras.add(camera)
        elif payload:
            self.heard[place] = read_info(before or Arrival(place), payload)
        arrival = self.heard.get(place)
        if arrival is None or not self.has_come_up(place) or (was_up and arrival == before):
            return ""
        if place not in self.expected:
            return "" if was_up else f"unknown   {describe(arrival)}"
        return f"came up   {describe(arrival)}  ({len(self.arrived)} of {len(self.expected)})"

    @property
    def _is_full(self) -> bool:
        """Whether so many boxes told of themselves that unknown ones are ignored from now on."""
        return len(self.heard) + len(self.online) > 2 * len(self.expected) + MAX_BOXES

    def table(self) -> str:
        """All boxes and their states."""
        note = "  (gone, or an earlier card: its message is still at the broker)"
        lines = [f"waiting   {place}{note if place in self.heard else ''}" for place in self.waiting]
        lines += [f"came up   {describe(self.heard[place])}" for place in self.arrived]
        unknown = [each for place, each in self.heard.items() if place not in self.expected]
        lines += [f"unknown   {describe(each)}" for each in unknown]
        return "\n".join(lines)


def read_info(known: Arrival, payload: bytes) -> Arrival:
    """What was known about a box, and what an `info` message of one of its cameras adds."""
    try:
        info = msgspec.json.decode(payload, type=dict[str, Any])
    except UNREADABLE:
        return known

    def text(key: str) -> str:
        value = info.get(key)
        return "".join(filter(str.isprintable, str(value)))[:_MAX_TEXT] if isinstance(value, str | int) else ""

    name, _, rest = text("model").partition(":")
    release = text("release") or rest.partition(":")[0]
    bundle = f"{name} release {release}" if release else name
    return Arrival(
        place=known.place,
        runtime=text("runtime") or text("version") or known.runtime,
        bundles=tuple(sorted({*known.bundles, *([bundle] if bundle else [])}))[:MAX_CAMERAS],
        address=text("address") or known.address,
        instance=text("instance") or known.instance,
    )


def describe(arrival: Arrival) -> str:
    """One line about a box."""
    parts = [arrival.place, f"vedette {arrival.runtime}" if arrival.runtime else "", *arrival.bundles, arrival.address]
    return "  ".join(filter(None, parts))
