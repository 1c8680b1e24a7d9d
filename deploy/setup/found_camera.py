"""A camera that a search found."""

from __future__ import annotations

import msgspec


class FoundCamera(msgspec.Struct, frozen=True, omit_defaults=True):
    """A camera at this machine or in its network."""

    way: str
    """How it was found: `v4l2`, `genicam`, `onvif` or `mdns`."""
    title: str
    """What it calls itself."""
    source: str = ""
    """Value for `source`; empty: the camera tells it only to who logs in."""
    service: str = ""
    """Address of its ONVIF device service."""

    def __str__(self) -> str:
        return f"{self.title} ({self.way}) {self.source or self.service}"
