"""The installed models as the page lists them: read from the links of the store, without the libraries of signatures.

`installation/model_store.py` says how the store is laid out. It would take 9 MB of memory, which a list is not worth.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from ..config.camera_products import list_installed
from ..config.configuration import Config
from ..config.installed_bundle import CURRENT_BUNDLE, MODELS_FOLDER


class ListedModel(msgspec.Struct, frozen=True):
    """A product of the store."""

    name: str
    current: str
    """Release that the cameras run; empty: none."""
    previous: str
    """Release that a rollback takes; empty: none."""
    cameras: tuple[str, ...]
    """Those that run it."""


def list_installed_models(state: Path, cameras: dict[str, Config]) -> list[ListedModel]:
    """All products of the store in a state folder, by name.

    Args:
        state: the device's state folder
        cameras: configurations by name
    """
    folder = state / MODELS_FOLDER
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []
    found = []
    for name in names:
        links = [_read_link(folder / name / link) for link in (CURRENT_BUNDLE.parts[0], "previous")]
        running = tuple(camera for camera, config in cameras.items() if name in list_installed(config))
        found.append(ListedModel(name, links[0], links[1], running))
    return found


def _read_link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
