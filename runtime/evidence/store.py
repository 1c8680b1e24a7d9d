"""Where evidence lies until it is too old, or there is too much of it.

A file is written beside its place, synced and then renamed, so there is never half a one. What is to be uploaded lies
in `waiting/` and is renamed into the folder itself once it was taken, so a restart finds what waits. Where room is
wanted, the oldest that nobody waits for goes first, then the oldest that waits; that one is lost, and counted. Age is
told by the files' own time and the machine's clock: one that is wrong deletes too early or too late.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

_DAY = 86400.0
_WAITING = "waiting"
_PART = ".part"
_OURS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.(jpg|webp|mp4)")  # nothing else is ever touched


class Tally(msgspec.Struct):
    """What became of evidence; told in the daemon's report."""

    files: int = 0
    bytes: int = 0
    """Kept just now."""
    waiting: int = 0
    """Of these files, not uploaded yet."""
    uploaded: int = 0
    uploaded_bytes: int = 0
    """Since the start."""
    lost: int = 0
    """Since the start: not written, or deleted before it was uploaded."""
    trouble: str = ""
    """Why it cannot be uploaded just now; empty where it can."""
    unwritable: str = ""
    """Why it could not be written last time; empty where it could."""


class _Item(msgspec.Struct, frozen=True):
    at: float
    size: int
    waits: bool


class Shelf:
    """The evidence of one camera; files are called by their event's id.

    Args:
        folder: where it lies; made where it is not
        quota: bytes of all of it
        days: after so many a file is deleted
        uploads: whether what comes in is to be uploaded
        min_free: bytes that it leaves free on its disk, for events are worth more
    """

    def __init__(self, folder: Path, quota: int, days: float, uploads: bool, min_free: int = 0) -> None:
        self.folder, self.quota, self.days, self.uploads, self.min_free = folder, quota, days, uploads, min_free
        self.guard = threading.Lock()
        self.tally = Tally()
        self.items: dict[str, _Item] = {}
        """By name, the oldest first."""
        with contextlib.suppress(OSError):  # told of where something is to be written
            self._find()

    def _find(self) -> None:
        (self.folder / _WAITING).mkdir(mode=0o700, parents=True, exist_ok=True)
        found: list[tuple[str, _Item]] = []
        for place in (self.folder, self.folder / _WAITING):
            for path in place.iterdir():
                if not _OURS.fullmatch(path.name.removesuffix(_PART)):
                    continue
                if path.name.endswith(_PART):
                    path.unlink()
                    continue
                facts = path.stat()
                if not self.uploads and place != self.folder:
                    path.rename(self.folder / path.name)
                waits = self.uploads and place != self.folder
                found.append((path.name, _Item(facts.st_mtime, facts.st_size, waits)))
        self.items = dict(sorted(found, key=lambda each: each[1].at))
        self._count()

    def keep(self, name: str, data: bytes) -> bool:
        """Writes it so that a power cut does not take it; False where that cannot be, and why is in the log."""
        place = self._place(self.uploads)
        part = place / f"{name}{_PART}"
        with self.guard:
            try:
                self._room(len(data))
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
                with part.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                part.rename(place / name)
                _sync(place)
            except OSError as error:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
                self.tally.lost += 1
                why = error.strerror or str(error)
                if self.tally.unwritable != why:
                    log.warning("events go without evidence, %s: %s", self.folder, why)
                self.tally.unwritable = why
                return False
            self.tally.unwritable = ""
            self.items[name] = _Item(time.time(), len(data), self.uploads)
            self._count()
        return True

    def expire(self) -> None:
        """Deletes what is too old."""
        with self.guard:
            bound = time.time() - _DAY * self.days
            for name in [name for name, item in self.items.items() if item.at < bound]:
                self._delete(name)
            self._count()

    def waiting(self) -> list[Path]:
        """What is to be uploaded, the oldest first."""
        with self.guard:
            return [self._place(True) / name for name, item in self.items.items() if item.waits]

    def uploaded(self, path: Path) -> None:
        """It was taken: from now on it may go where there is too much."""
        with self.guard:
            item = self.items.get(path.name)
            if item is None:
                return
            self.tally.uploaded += 1
            self.tally.uploaded_bytes += item.size
            path.rename(self.folder / path.name)
            self.items[path.name] = msgspec.structs.replace(item, waits=False)
            self._count()

    def forget(self, path: Path) -> None:
        """Somebody else has taken it away."""
        with self.guard:
            self.items.pop(path.name, None)
            self._count()

    def _room(self, size: int) -> None:
        """Makes it.

        Raises:
            OSError: there is none.
        """
        if size > self.quota:
            raise OSError(f"{size} bytes are more than its quota")
        disk = os.statvfs(next(each for each in (self.folder, *self.folder.parents) if each.exists()))
        if self.min_free and disk.f_bavail * disk.f_frsize < self.min_free + size:
            raise OSError("the disk is nearly full")
        for waits in (False, True):
            for name in [name for name, item in self.items.items() if item.waits == waits]:
                if self.tally.bytes + size <= self.quota:
                    return
                self._delete(name)

    def _delete(self, name: str) -> None:
        item = self.items.pop(name)
        (self._place(item.waits) / name).unlink(missing_ok=True)
        self.tally.bytes -= item.size
        if item.waits:
            self.tally.lost += 1
            log.warning("evidence %s is deleted before it was uploaded", name)

    def _place(self, waits: bool) -> Path:
        return self.folder / _WAITING if waits else self.folder

    def _count(self) -> None:
        self.tally.files = len(self.items)
        self.tally.bytes = sum(item.size for item in self.items.values())
        self.tally.waiting = sum(item.waits for item in self.items.values())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
