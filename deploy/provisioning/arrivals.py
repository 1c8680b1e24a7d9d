"""Which boxes of a table have come up, by their retained `info` messages.

A message that names another instance than the card was left by an earlier life of the box, and does not count.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .fleet_table import Box

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
        self.arrived = dict[str, Arrival]()
        self.unknown = dict[str, Arrival]()
        self.earlier = set[str]()

    @property
    def waiting(self) -> list[str]:
        """Names of the boxes that have not come up, in the order of the table."""
        return [name for place, name in self.expected.items() if place not in self.arrived]

    def take(self, topic: str, payload: bytes) -> str:
        """Takes an `info` message.

        Returns:
            A line that says what is new; empty if nothing is.
        """
        levels = topic.removeprefix(f"{self.prefix}/v1/").split("/")
        if len(levels) < 6 or levels[4] != "info" or not payload:
            return ""
        place = "/".join(levels[:4])
        known = self.arrived.get(place) or self.unknown.get(place) or Arrival(place)
        arrival = read_info(known, payload)
        name = self.expected.get(place)
        if name is None:
            is_new, self.unknown[place] = place not in self.unknown, arrival
            return f"unknown   {describe(arrival)}" if is_new else ""
        if arrival.instance and arrival.instance != self.instances.get(name, arrival.instance):
            is_new = place not in self.earlier
            self.earlier.add(place)
            return f"earlier   {place}: a message of an earlier card" if is_new else ""
        is_new, self.arrived[place] = self.arrived.get(place) != arrival, arrival
        return f"came up   {describe(arrival)}  ({len(self.arrived)} of {len(self.expected)})" if is_new else ""

    def table(self) -> str:
        """All boxes and their states."""
        note = "  (there is a message of an earlier card)"
        lines = [
            f"waiting   {place}{note if place in self.earlier else ''}"
            for place in self.expected
            if place not in self.arrived
        ]
        lines += [f"came up   {describe(each)}" for each in self.arrived.values()]
        lines += [f"unknown   {describe(each)}" for each in self.unknown.values()]
        return "\n".join(lines)


def read_info(known: Arrival, payload: bytes) -> Arrival:
    """What was known about a box, and what an `info` message of one of its cameras adds."""
    try:
        info = msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
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
        bundles=tuple(sorted({*known.bundles, *([bundle] if bundle else [])})),
        address=text("address") or known.address,
        instance=text("instance") or known.instance,
    )


def describe(arrival: Arrival) -> str:
    """One line about a box."""
    parts = [arrival.place, f"vedette {arrival.runtime}" if arrival.runtime else "", *arrival.bundles, arrival.address]
    return "  ".join(filter(None, parts))
