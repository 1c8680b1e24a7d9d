"""The installed models as the page lists them, read without the libraries of signatures: they take 9 MB of memory.

What the page says of a signer is what the file says. The installation has verified it, and so does each start of a
daemon; this list does not.
"""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path

import msgspec

from ..config.camera_products import list_installed
from ..config.configuration import Config
from ..errors import UNREADABLE
from ..installation.model_store import ModelStore
from ..installation.probation_record import Probation, ProbationRecord

_MAX_MANIFEST = 4 << 20


class ListedRelease(msgspec.Struct, frozen=True):
    """A release of a product: in the store, or left and deleted."""

    number: int
    signer: str = ""
    """ID of the key that signed it; empty: the file cannot be read, or is gone."""
    installed: float | None = None
    """When it was installed, seconds since 1970; None: the file is gone."""
    probation: Probation | None = None
    """The last probation, if it was of this release."""


class ListedModel(msgspec.Struct, frozen=True):
    """A product of the store."""

    name: str
    current: int | None
    """Release that the cameras run; None: none."""
    previous: int | None
    """Release that a rollback takes; None: none."""
    cameras: tuple[str, ...]
    """Those that run it."""
    releases: tuple[ListedRelease, ...]
    """The newest first."""


class _Signed(msgspec.Struct):
    signer: str = ""


def list_installed_models(state: Path, cameras: dict[str, Config]) -> list[ListedModel]:
    """All products of the store in a state folder, by name.

    Args:
        state: the device's state folder
        cameras: configurations by name
    """
    try:
        return [_describe(ModelStore(state), each.name, cameras) for each in ModelStore(state).list_models()]
    except OSError:
        return []


def _describe(store: ModelStore, name: str, cameras: dict[str, Config]) -> ListedModel:
    model, probation = store.find_model(name), ProbationRecord(store, name).read_as_it_stands()
    numbers = {*model.releases, *([probation.release] if probation is not None else [])}
    releases = []
    for number in sorted(numbers, reverse=True):
        signer, installed = _read_signer(store.release_path(name, number))
        own = probation if probation is not None and probation.release == number else None
        releases.append(ListedRelease(number, signer, installed, own))
    running = tuple(camera for camera, config in cameras.items() if name in list_installed(config))
    return ListedModel(name, model.current, model.previous, running, tuple(releases))


def _read_signer(path: Path) -> tuple[str, float | None]:
    """The signer that the manifest names, and when the file was written."""
    installed = None
    with contextlib.suppress(OSError, zipfile.BadZipFile, KeyError, NotImplementedError, *UNREADABLE):
        installed = path.stat().st_mtime
        with zipfile.ZipFile(path) as archive, archive.open("manifest.json") as file:
            return msgspec.json.decode(file.read(_MAX_MANIFEST), type=_Signed).signer, installed
    return "", installed
