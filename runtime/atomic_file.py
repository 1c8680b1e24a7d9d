"""Writing files: complete or not at all, and where need be readable by their owner only."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from .errors import MachineProblem


def write_atomically(path: Path, content: bytes, hint: str, like: Path | None = None, private: bool = False) -> None:
    """Writes a file in one step: a crash leaves the old file or the new one. Creates missing parent folders.

    What it returns from outlasts a power cut, on file systems that can sync a folder.

    Args:
        path: the file
        content: what it will hold
        hint: the remedy of the error
        like: an existing file, whose owner and mode the new one gets; None: those of this process
        private: only its owner may read it, from its first byte on

    Raises:
        MachineProblem: the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if private:
            partial.unlink(missing_ok=True)  # others may have it open
        with open(partial, "wb", opener=open_private if private or like is not None else None) as file:
            if like is not None:
                present = like.stat()
                with suppress(PermissionError):  # only root gives files away
                    os.fchown(file.fileno(), present.st_uid, present.st_gid)
                os.fchmod(file.fileno(), present.st_mode & 0o777)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        try:
            sync_folder(path.parent)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some network file systems cannot
                raise
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise MachineProblem(f"{path}: {error.strerror}", hint=hint) from None


def sync_folder(folder: Path) -> None:
    """Makes names that appeared in a folder, or went, outlast a power cut.

    Raises:
        OSError: the disk does not take it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_folder(folder: Path) -> None:
    """Creates a folder and its missing parents with mode 0700; takes an existing one from all but its owner and group.

    An existing folder that others share, such as /tmp, stays as it is.

    Raises:
        OSError: it cannot be created.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        each.chmod(0o700)  # mkdir leaves out what the umask forbids, and that may be too much
    if not missing:
        present = folder.stat()
        if present.st_mode & 0o067 and not _is_shared(folder, present):
            with contextlib.suppress(PermissionError):  # it belongs to somebody else
                folder.chmod(present.st_mode & 0o7710)


def _is_shared(folder: Path, present: os.stat_result) -> bool:
    """Whether files of others lie in a folder, or may; those of root do not count."""
    if present.st_mode & stat.S_ISVTX or folder.is_mount():
        return True
    with os.scandir(folder) as entries:
        return any(entry.stat(follow_symlinks=False).st_uid not in (present.st_uid, 0) for entry in entries)


def open_private(path: str, flags: int) -> int:
    """The `opener` of `open` for a file that only its owner may read."""
    return os.open(path, flags, 0o600)


def make_private(path: Path) -> None:
    """Takes an existing file from all but its owner, as far as this user may."""
    with contextlib.suppress(OSError):
        path.chmod(0o600)
