"""MQTT topics: PREFIX/v1/SITE/AREA/LINE/DEVICE/… (docs/events.md).

One level of the topic is the device name, which is also the user name at the broker. So one access-control pattern
covers a whole fleet.
"""

from __future__ import annotations

import re

import msgspec

from ..config.configuration import Config

_RESPONSE = re.compile(r"[^+#\x00-\x1f\x7f]{1,200}\Z")


class Topics(msgspec.Struct, frozen=True):
    """The MQTT topics of one device; each method gives the topic for one camera."""

    root: str
    source: str
    """The CloudEvents source of the device, without the camera."""

    @classmethod
    def from_config(cls, config: Config) -> Topics:
        path = "/".join((config.device.site, config.device.area, config.device.line, config.device.name))
        return cls(root=f"{config.broker.prefix}/v1/{path}", source=f"/{path}")

    def event(self, camera: str, rule: str) -> str:
        return f"{self.root}/evt/{camera}/{rule}"

    def batch(self, camera: str) -> str:
        """Topic of events that are published together (`[broker.batch]`)."""
        return f"{self.root}/batch/{camera}"

    def availability(self, camera: str) -> str:
        return f"{self.root}/availability/{camera}"

    def stats(self, camera: str) -> str:
        return f"{self.root}/stats/{camera}"

    def part_stats(self, camera: str) -> str:
        return f"{self.root}/stats/part/{camera}"

    def state(self, camera: str) -> str:
        return f"{self.root}/state/{camera}"

    def thumbnail(self, camera: str) -> str:
        return f"{self.root}/thumbnail/{camera}"

    def correlation(self, camera: str) -> str:
        return f"{self.root}/time/correlation/{camera}"

    def command(self, name: str) -> str:
        """Topic of a command, shared by all cameras of the device; `+`: of all commands."""
        return f"{self.root}/cmd/{name}"

    def replay(self) -> str:
        """Topic of replay commands."""
        return self.command("replay")

    def responses(self) -> str:
        """What the response topics of commands begin with: the device answers to no other topic."""
        return f"{self.root}/res/"

    def is_response(self, topic: str) -> bool:
        """Whether the device may answer to a topic."""
        prefix = self.responses()
        return topic.startswith(prefix) and _RESPONSE.match(topic[len(prefix) :]) is not None

    def line(self, camera: str) -> str:
        """Topic of the outputs to the line (`trigger.source = "mqtt:"`)."""
        return f"{self.root}/line/{camera}"

    def info(self, camera: str) -> str:
        return f"{self.root}/info/{camera}"
