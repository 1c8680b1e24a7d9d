"""The evidence store: files on disk, bounded by age and by a quota.

A file is written under another name, synced and renamed, so it is never incomplete. Files to be uploaded lie in
`waiting/` and move to the store's folder after the upload, so a restart finds them. If space is needed, the oldest
files that are not pending are deleted first, then the oldest pending ones; those are lost, and counted. The ages
of files are measured once, at the start, from their times and the wall clock; after that they grow by a clock that
cannot be set. So a step of the wall clock deletes nothing; a wall clock that is wrong at the start deletes too early or
too late.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import threading
import time
from pathlib import Path

import msgspec

from ..atomic_file import make_private_folder, open_private, sync_folder

log = logging.getLogger(__name__)

_DAY_SECONDS = 86400.0
_PENDING_FOLDER = "waiting"
_PART_SUFFIX = ".part"
PICTURE_SUFFIXES, CLIP_SUFFIXES = (".jpg", ".webp"), (".mp4",)
HEAT_SUFFIX, GOOD_SUFFIX = ".heat.png", ".good.jpg"
"""Of the heat map of an event, and of the good part to compare it with."""
_EVIDENCE_NAME = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    rf"(\.(jpg|webp|mp4)|{re.escape(HEAT_SUFFIX)}|{re.escape(GOOD_SUFFIX)})"
)  # other files are never deleted


class EvidenceCounts(msgspec.Struct):
    """Counters of the evidence store, part of the daemon's report."""

    files: int = 0
    bytes: int = 0
    """Currently stored."""
    waiting: int = 0
    """Stored files that are not uploaded yet."""
    uploaded: int = 0
    uploaded_bytes: int = 0
    """Since the start."""
    lost: int = 0
    """Since the start: not written, or deleted before it was uploaded."""
    trouble: str = ""
    """Why uploads fail now; empty if they succeed."""
    unwritable: str = ""
    """Why the last write failed; empty if it succeeded."""


class _StoredFile(msgspec.Struct, frozen=True):
    stored: float
    """Seconds since boot; negative if it was stored before the boot."""
    size: int
    is_pending: bool


class EvidenceStore:
    """The evidence of one camera; a file is named after the id of its event.

    Args:
        folder: created if it does not exist
        quota: most bytes of all files
        days: age at which a file is deleted
        uploads: True if new files are to be uploaded
        min_free: bytes that stay free on the disk, because events matter more
    """

    def __init__(self, folder: Path, quota: int, days: float, uploads: bool, min_free: int = 0) -> None:
        self.folder, self.quota, self.days, self.uploads, self.min_free = folder, quota, days, uploads, min_free
        self.lock = threading.Lock()
        self.counts = EvidenceCounts()
        self.items: dict[str, _StoredFile] = {}
        """Stored files by name, the oldest first."""
        with contextlib.suppress(OSError):  # reported at the next write
            self._scan_folder()

    def _scan_folder(self) -> None:
        make_private_folder(self.folder)
        make_private_folder(self.folder / _PENDING_FOLDER)
        stored: list[tuple[str, _StoredFile]] = []
        now, boot = time.time(), _seconds_since_boot()
        for folder in (self.folder, self.folder / _PENDING_FOLDER):
            for path in folder.iterdir():
                if not _EVIDENCE_NAME.fullmatch(path.name.removesuffix(_PART_SUFFIX)):
                    continue
                if path.name.endswith(_PART_SUFFIX):
                    path.unlink()
                    continue
                info = path.stat()
                if not self.uploads and folder != self.folder:
                    path.rename(self.folder / path.name)
                is_pending = self.uploads and folder != self.folder
                stored.append((path.name, _StoredFile(boot - (now - info.st_mtime), info.st_size, is_pending)))
        self.items = dict(sorted(stored, key=lambda each: each[1].stored))
        self._update_counts()

    def add(self, name: str, data: bytes) -> bool:
        """Writes a file durably (fsync); False if that fails, with the reason in the log."""
        folder = self._folder(self.uploads)
        part = folder / f"{name}{_PART_SUFFIX}"
        with self.lock:
            try:
                self._make_room(len(data))
                make_private_folder(folder)
                with open(part, "wb", opener=open_private) as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                part.rename(folder / name)
                sync_folder(folder)
            except OSError as error:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
                self.counts.lost += 1
                reason = error.strerror or str(error)
                if self.counts.unwritable != reason:
                    log.warning("events have no evidence, %s: %s", self.folder, reason)
                self.counts.unwritable = reason
                return False
            self.counts.unwritable = ""
            self.items[name] = _StoredFile(_seconds_since_boot(), len(data), self.uploads)
            self._update_counts()
        return True

    def expire(self) -> None:
        """Deletes the files that are too old."""
        with self.lock:
            oldest = _seconds_since_boot() - _DAY_SECONDS * self.days
            for name in [name for name, item in self.items.items() if item.stored < oldest]:
                self._delete(name)
            self._update_counts()

    def pending_uploads(self) -> list[Path]:
        """The files to be uploaded, the oldest first."""
        with self.lock:
            return [self._folder(True) / name for name, item in self.items.items() if item.is_pending]

    def mark_uploaded(self, path: Path) -> None:
        """Moves an uploaded file to the store's folder, where it may be deleted first."""
        with self.lock:
            item = self.items.get(path.name)
            if item is None:
                return
            self.counts.uploaded += 1
            self.counts.uploaded_bytes += item.size
            path.rename(self.folder / path.name)
            self.items[path.name] = msgspec.structs.replace(item, is_pending=False)
            self._update_counts()

    def discard(self, path: Path) -> None:
        """Forgets a file that another process has removed."""
        with self.lock:
            self.items.pop(path.name, None)
            self._update_counts()

    def _make_room(self, size: int) -> None:
        """Deletes files until a file of this size fits.

        Raises:
            OSError: it cannot fit.
        """
        if size > self.quota:
            raise OSError(f"{size} bytes are more than the quota")
        existing = next(each for each in (self.folder, *self.folder.parents) if each.exists())
        if self.min_free and shutil.disk_usage(existing).free < self.min_free + size:
            raise OSError("the disk is nearly full")
        for is_pending in (False, True):
            for name in [name for name, item in self.items.items() if item.is_pending == is_pending]:
                if self.counts.bytes + size <= self.quota:
                    return
                self._delete(name)

    def _delete(self, name: str) -> None:
        item = self.items.pop(name)
        (self._folder(item.is_pending) / name).unlink(missing_ok=True)
        self.counts.bytes -= item.size
        if item.is_pending:
            self.counts.lost += 1
            log.warning("evidence %s is deleted before it was uploaded", name)

    def _folder(self, is_pending: bool) -> Path:
        return self.folder / _PENDING_FOLDER if is_pending else self.folder

    def _update_counts(self) -> None:
        self.counts.files = len(self.items)
        self.counts.bytes = sum(item.size for item in self.items.values())
        self.counts.waiting = sum(item.is_pending for item in self.items.values())


def find_evidence(folder: Path, name: str) -> Path | None:
    """The file `name` of the store in `folder`, uploaded or not; None: it is deleted already."""
    return next((path for path in (folder / _PENDING_FOLDER / name, folder / name) if path.exists()), None)


def _seconds_since_boot() -> float:
    """Includes those in suspend; nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
