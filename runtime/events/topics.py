"""Topic names: PREFIX/v1/SITE/AREA/LINE/DEVICE/… (docs/events.md).

The device has a level of its own, which is also its user name at the broker, so that one line of access control
serves a whole fleet.
"""

from __future__ import annotations

import msgspec

from ..config.configuration import Config


class Topics(msgspec.Struct, frozen=True):
    """The topics of one device."""

    root: str
    source: str
    """The CloudEvents source of the device, without a camera."""

    @classmethod
    def of(cls, config: Config) -> Topics:
        place = "/".join((config.device.site, config.device.area, config.device.line, config.device.name))
        return cls(root=f"{config.broker.prefix}/v1/{place}", source=f"/{place}")

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
        """Where orders come in, for all cameras of the device."""
        return f"{self.root}/cmd/replay"

    def info(self, camera: str) -> str:
        return f"{self.root}/info/{camera}"
