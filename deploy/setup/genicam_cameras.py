"""Cameras for machine vision at this machine and in its networks, where aravis is installed."""

from __future__ import annotations

from urllib.parse import quote

from vedette.runtime.camera.capture.aravis import Aravis

from .found_camera import FoundCamera


def find_genicam_cameras() -> list[FoundCamera]:
    """GigE Vision and USB3 Vision cameras by name; none without the library. Takes about a second with it."""
    try:
        library = Aravis()
    except RuntimeError:
        return []
    return [
        FoundCamera("genicam", title or name, f"genicam:{quote(name, safe='')}")
        for name, title in library.list_cameras()
    ]
