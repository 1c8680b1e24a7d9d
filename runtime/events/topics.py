"""MQTT topics: PREFIX/v1/SITE/AREA/LINE/DEVICE/… (docs/events.md).

One level of the topic is the device name, which is also the user name at the broker. So one access-control pattern
covers a whole fleet.
"""

from __future__ import annotations

import msgspec

from ..config.configuration import Config


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

    def availability(self, camera: str) -> str:
        return f"{self.root}/availability/{camera}"

    def stats(self, camera: str) -> str:
        return f"{self.root}/stats/{camera}"

    def state(self, camera: str) -> str:
        return f"{self.root}/state/{camera}"

    def correlation(self, camera: str) -> str:
        return f"{self.root}/time/correlation/{camera}"

    def replay(self) -> str:
        """Topic of replay commands, shared by all cameras of the device."""
        return f"{self.root}/cmd/replay"

    def responses(self) -> str:
        """What the response topics of commands begin with: the device answers to no other topic."""
        return f"{self.root}/res/"

    def info(self, camera: str) -> str:
        return f"{self.root}/info/{camera}"
