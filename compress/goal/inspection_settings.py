"""Which part of an image an anomaly model sees, and how: the table `[inspect]` of a goal file."""

from __future__ import annotations

from typing import Literal

import msgspec

from vedette.runtime.config.configuration import Name


class AreaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[inspect.areas]]`: an area of the part with a threshold of its own."""

    name: Name
    """In the events about the area."""
    polygon: tuple[tuple[float, float], ...]
    """As fractions 0…1 of the aligned image from the top left. Where areas overlap, the first one counts."""
    ignore: bool = False
    """True: the area raises no alarm."""


class InspectionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[inspect]`"""

    region: Literal["auto", "all"] | tuple[tuple[float, float], ...] = "auto"
    """Polygon of the region to inspect, as fractions 0…1 of the aligned image from the top left. `all`: the whole
    image. `auto`: the rectangle around the part if parts are aligned and it is less than half of the image; else the
    whole image."""
    align: Literal["auto", "none", "translation", "rigid", "similarity"] = "auto"
    """How parts move in the images, so that each is aligned with a reference. `rigid` is a translation and a rotation;
    `similarity` also scales. `auto`: the build finds it out from the good images."""
    areas: tuple[AreaSettings, ...] = ()
    """Each area, and what is left of the image, gets the threshold at which it uses an equal share of the accepted
    false alarms."""

    def polygons(self) -> dict[str, tuple[tuple[float, float], ...]]:
        """The polygons by key, for checks."""
        region = {} if isinstance(self.region, str) else {"region": self.region}
        return region | {f"areas.{area.name}": area.polygon for area in self.areas}
