"""A bundle that a browser sends: written to disk piece by piece, one at a time, never held in memory.

Pieces keep the limits of every request: a slow connection needs only one piece within the time of a request.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
from pathlib import Path

from ..atomic_file import make_private_folder, open_private
from ..bundle.archive import MAX_BYTES
from ..errors import ConfigProblem, MachineProblem

PIECE_BYTES = 1 << 20
"""Bytes of a piece; the last one may have fewer."""
FOLDER = ".upload"  # no camera can have this name
_ROOM = 64 << 20  # bytes that stay free beside the bundle and its copy in the store


class BundleUpload:
    """The upload of a page; a new one takes the place of the one before."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.identity, self.size, self.received = "", 0, 0
        self.path = Path()

    def begin(self, state: Path, size: int) -> str:
        """Makes room for a bundle; returns the ID that its pieces carry.

        Args:
            state: the state folder of the device
            size: bytes of the bundle

        Raises:
            ConfigProblem: no bundle is that large, or empty.
            MachineProblem: the disk has no room, or this user may not write there.
        """
        if not 0 < size <= MAX_BYTES:
            raise ConfigProblem(f"the file has {size} bytes; a bundle has at most {MAX_BYTES >> 20} MiB")
        with self.lock:
            self._remove()
            folder = state / FOLDER
            try:
                make_private_folder(folder)
                remove_leftover(state)
                free = shutil.disk_usage(folder).free
                if free < 2 * size + _ROOM:
                    hint = f"a bundle of {size >> 20} MiB needs {(2 * size + _ROOM) >> 20} MiB"
                    raise MachineProblem(f"{free >> 20} MiB are free on the disk", hint)
                self.path, self.size, self.received = folder / "bundle.vedette", size, 0
                open(self.path, "wb", opener=open_private).close()
            except OSError as error:
                raise MachineProblem(f"{folder}: {error.strerror}") from None
            self.identity = secrets.token_hex(16)
            return self.identity

    def add(self, identity: str, offset: int, content: bytes) -> bool:
        """Writes the next piece; returns whether the bundle is complete.

        Raises:
            ConfigProblem: it is of another upload, not the next piece, or goes beyond the size.
            MachineProblem: the disk does not take it.
        """
        with self.lock:
            if identity != self.identity or offset != self.received or offset + len(content) > self.size:
                raise ConfigProblem("this is not the next piece of the upload", "choose the file again")
            try:
                with self.path.open("r+b") as file:
                    file.seek(offset)
                    file.write(content)
            except OSError as error:
                self._remove()
                raise MachineProblem(f"{self.path}: {error.strerror}", "choose the file again") from None
            self.received += len(content)
            return self.received == self.size

    def find(self, identity: str) -> Path | None:
        """The complete file of an upload; None: it is another one, or not complete."""
        with self.lock:
            return self.path if identity and identity == self.identity and self.received == self.size else None

    def discard(self, identity: str) -> None:
        """Deletes an upload; another one stays."""
        with self.lock:
            if identity == self.identity:
                self._remove()

    def _remove(self) -> None:
        if self.identity:
            self.identity = ""
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)


def remove_leftover(state: Path) -> None:
    """Deletes what the upload of an earlier process left, as far as this user may."""
    with contextlib.suppress(OSError):
        for path in (state / FOLDER).iterdir():
            path.unlink(missing_ok=True)
