"""The store of installed models: the releases of each product, of which one is current.

    STATE/models/cells/3/bundle.vedette    a release, as it was installed
    STATE/models/cells/current -> 3        what cameras with `bundle = "installed:cells"` run
    STATE/models/cells/previous -> 2       what a rollback takes
    STATE/models/cells/probation.json      how the current release does (probation_record.py)

A release appears whole: it is written beside, synced, and renamed. A link changes by a rename. So a power cut at any
moment leaves the old release or the new one. All changes hold a lock, because several daemons may run one product.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..atomic_file import sync_folder, write_atomically
from ..bundle.recalibration_file import recalibration_path
from ..config.installed_bundle import CURRENT_BUNDLE, MODELS_FOLDER
from ..errors import ConfigProblem, MachineProblem

CURRENT, BUNDLE = CURRENT_BUNDLE.parts
PREVIOUS = "previous"
_HINT = "free space on the disk, or make the folder writable for the user vedette"


class InstalledModel(msgspec.Struct, frozen=True):
    """A product in the store."""

    name: str
    current: int | None
    previous: int | None
    releases: tuple[int, ...]
    """All that are there, sorted."""


class ModelStore:
    """The installed models of a device.

    Args:
        state: the state folder of the device, in which the store is the folder `models`
    """

    def __init__(self, state: Path) -> None:
        self.folder = state / MODELS_FOLDER
        self._locked: set[str] = set()

    def bundle_path(self, name: str) -> Path:
        """Where the current bundle of a product is, or would be."""
        return self.folder / name / CURRENT_BUNDLE

    def release_path(self, name: str, release: int) -> Path:
        """Where the bundle of a release is, or would be."""
        return self.folder / name / str(release) / BUNDLE

    def list_models(self) -> list[InstalledModel]:
        """All products, by name."""
        if not self.folder.is_dir():
            return []
        return [self.find_model(path.name) for path in sorted(self.folder.iterdir()) if path.is_dir()]

    def find_model(self, name: str) -> InstalledModel:
        """One product; without releases if it is not installed."""
        folder = self.folder / name
        releases = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        numbers = tuple(sorted(int(release) for release in releases if re.fullmatch(r"[1-9]\d*", release)))
        return InstalledModel(name, self._read_link(name, CURRENT), self._read_link(name, PREVIOUS), numbers)

    def add(self, name: str, release: int, content: bytes, recalibration: bytes | None = None) -> None:
        """Stores a release beside those that are there; it is not current yet.

        Args:
            name: the product
            release: of the bundle
            content: the bundle
            recalibration: its local recalibration, which one that the store has comes before; None: there is none

        Raises:
            ConfigProblem: this release is there with another content.
            MachineProblem: the disk does not take it.
        """
        folder = self.folder / name / str(release)
        with _explained(folder), self.lock(name):
            if folder.exists():
                if (folder / BUNDLE).read_bytes() != content:
                    hint = "build the bundle with a higher release"
                    raise ConfigProblem(f"release {release} of {name} is installed with another content", hint=hint)
                if recalibration is not None and not recalibration_path(folder / BUNDLE).exists():
                    write_atomically(recalibration_path(folder / BUNDLE), recalibration, _HINT)
                return
            partial = folder.with_name(f".{release}.part")
            shutil.rmtree(partial, ignore_errors=True)  # of an installation that was cut off
            partial.mkdir()
            if recalibration is not None:
                write_atomically(recalibration_path(partial / BUNDLE), recalibration, _HINT)
            write_atomically(partial / BUNDLE, content, _HINT)
            partial.rename(folder)
            sync_folder(folder.parent)

    def discard(self, name: str, release: int) -> None:
        """Removes a release that is damaged, so that it can be added again.

        Raises:
            MachineProblem: the disk does not take it.
        """
        folder = self.folder / name / str(release)
        with _explained(folder), self.lock(name):
            if folder.exists():
                shutil.rmtree(folder)

    def switch(self, name: str, release: int, previous: int | None = None) -> None:
        """Makes a stored release the current one, and another the previous one; only these two are kept.

        Args:
            name: the product
            release: the one that becomes the current one
            previous: the one that becomes the previous one; None: the one that was current

        Raises:
            MachineProblem: the disk does not take it.
        """
        with _explained(self.folder / name), self.lock(name):
            current = self.find_model(name).current
            if current not in (None, release):
                self._write_link(name, PREVIOUS, previous or current)
            self._write_link(name, CURRENT, release)
            self._remove_old_releases(name)

    def roll_back(self, name: str) -> tuple[int, int]:
        """Makes the previous release the current one again, and forgets the one that was left.

        Returns:
            the release that was left, and the one that is current now

        Raises:
            ConfigProblem: there is no release to go back to.
        """
        if self.find_model(name).current is None:
            installed = ", ".join(each.name for each in self.list_models()) or "none"
            raise ConfigProblem(f"{name} is not installed", hint=f"installed models: {installed}")
        with _explained(self.folder / name), self.lock(name):
            model = self.find_model(name)
            if model.current is None or model.previous in (None, model.current):
                hint = "install the bundle that you want: vedette install BUNDLE"
                raise ConfigProblem(f"{name}: release {model.current} has no release before it", hint=hint)
            self._write_link(name, CURRENT, model.previous)
            # Cut off here, `previous` names the current release, and a second rollback has nowhere to go.
            with contextlib.suppress(FileNotFoundError):
                (self.folder / name / PREVIOUS).unlink()
            sync_folder(self.folder / name)
        return model.current, model.previous

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Keeps other processes from changing a product; this object may take it again while it has it.

        The folder of the product is made if it is missing.

        Raises:
            MachineProblem: this user may not write there.
        """
        if name in self._locked:
            yield
            return
        folder = self.folder / name
        with _explained(folder):
            if not folder.exists():
                folder.mkdir(parents=True, exist_ok=True)
                for each in (self.folder, self.folder.parent):
                    sync_folder(each)
            file = (folder / ".lock").open("w")
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._locked.add(name)
            try:
                yield
            finally:
                self._locked.remove(name)

    def _read_link(self, name: str, link: str) -> int | None:
        try:
            return int((self.folder / name / link).readlink().name)
        except (OSError, ValueError):
            return None

    def _write_link(self, name: str, link: str, release: int | None) -> None:
        path = self.folder / name / link
        partial = path.with_name(f".{link}.part")
        partial.unlink(missing_ok=True)
        partial.symlink_to(str(release))
        partial.replace(path)
        sync_folder(path.parent)

    def _remove_old_releases(self, name: str) -> None:
        """Removes all but the current and the previous release; what cannot be removed stays until the next time."""
        model = self.find_model(name)
        for release in set(model.releases) - {model.current, model.previous}:
            shutil.rmtree(self.folder / name / str(release), ignore_errors=True)


def find_unwritable(state: Path) -> Path | None:
    """The folder in which this user may not install models; None: it may.

    Args:
        state: the state folder of the device, which may be missing yet
    """
    present = next(each for each in (state / MODELS_FOLDER, state, *state.absolute().parents) if each.exists())
    return None if os.access(present, os.W_OK | os.X_OK) else present


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MachineProblem(f"{path}: {error.strerror}", hint=_HINT) from None
