"""Which part of an image an anomaly model sees: the table `[inspect]` of a goal file."""

from __future__ import annotations

from typing import Literal

import msgspec


class InspectionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[inspect]`"""

    region: Literal["auto", "all"] | tuple[tuple[float, float], ...] = "auto"
    """Polygon of the region to inspect, as fractions 0…1 of the aligned image from the top left. `all`: the whole
    image. `auto`: the rectangle around the part if parts are aligned and it is less than half of the image; else the
    whole image."""
    align: Literal["auto", "none", "translation", "rigid", "similarity"] = "auto"
    """How parts move in the images, so that each is aligned with a reference. `rigid` is a translation and a rotation;
    `similarity` also scales. `auto`: the build finds it out from the good images."""
