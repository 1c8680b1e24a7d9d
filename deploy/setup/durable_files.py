"""Files that survive a power cut: each appears whole under its name or not at all, and the file it replaces is kept.

The content is synced before the name appears, and the folder after it. A file with other content gets the name
`NAME.bak` first (`NAME.bak.1`, … if that is another one).
"""

from __future__ import annotations

import contextlib
import grp
import os
import stat
from pathlib import Path
from typing import Literal

import msgspec

from vedette.runtime.atomic_file import sync_folder
from vedette.runtime.errors import MachineProblem
from vedette.runtime.socket_access import GROUP

Action = Literal["unchanged", "written", "replaced"]
_BACKUPS = 1000


class PlannedFile(msgspec.Struct, frozen=True):
    """A file that set-up writes."""

    path: Path
    content: bytes
    secret: bool = False
    """Readable by its owner and the group `vedette` alone, and never shown."""

    def is_in_force(self) -> bool:
        """Whether nothing but its content must be there."""
        return True

    def write(self) -> FileChange:
        """Writes it; see `write_file`."""
        return write_file(self)


class FileChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happened to a file."""

    path: str
    action: Action
    backup: str = ""
    """Name of the file that holds what stood there before."""


def find_action(file: PlannedFile) -> Action:
    """What writing the file would do.

    Raises:
        MachineProblem: the present file cannot be read.
    """
    try:
        if not os.path.lexists(file.path):
            return "written"
        is_there = file.path.read_bytes() == file.content and file.is_in_force()
        return "unchanged" if is_there else "replaced"
    except OSError as error:
        raise _problem(file.path, error) from None


def write_file(file: PlannedFile, keep: bool = True) -> FileChange:
    """Writes a file, unless it has that content; makes its folder.

    Args:
        file: the file
        keep: whether a file that it replaces is kept

    Raises:
        MachineProblem: it cannot be written.
    """
    action, backup = find_action(file), ""
    partial = file.path.with_name(f".{file.path.name}.part")
    try:
        _make_folder(file.path.parent, private=file.secret)
        if action == "unchanged":
            _set_access(file)
            sync_folder(file.path.parent)  # a start before this one may have been cut off before it
            return FileChange(str(file.path), action)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, file.content)
            _set_access(file, descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if action == "replaced" and keep:
            backup = _keep(file.path)
        os.replace(partial, file.path)
        sync_folder(file.path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise _problem(file.path, error) from None
    return FileChange(str(file.path), action, backup)


def require_writable(folder: Path) -> None:
    """Raises a MachineProblem if this user may not write a folder, or make it."""
    present = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not os.access(present, os.W_OK | os.X_OK):
        raise _problem(folder, PermissionError(0, "this user may not write there"))


def write_all(descriptor: int, content: bytes) -> None:
    """Writes all bytes to an open file."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _keep(path: Path) -> str:
    """Gives the present file a second name; returns it."""
    content = path.read_bytes()
    for number in range(_BACKUPS):
        backup = path.with_name(f"{path.name}.bak{f'.{number}' if number else ''}")
        if os.path.lexists(backup):
            if backup.is_file() and backup.read_bytes() == content:
                return str(backup)
            continue
        os.link(path, backup, follow_symlinks=False)
        return str(backup)
    raise FileExistsError(None, f"there are {_BACKUPS} backups")


def _make_folder(folder: Path, private: bool) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        is_private = private and each == folder
        each.mkdir(exist_ok=True)
        if is_private and (group := _service_group()) is not None:
            os.chown(each, 0, group)
        each.chmod(0o750 if is_private else 0o755)  # mkdir leaves out what the umask forbids
        sync_folder(each.parent)


def _set_access(file: PlannedFile, descriptor: int | None = None) -> None:
    """Owner, group and mode: 0644, or 0640 for a secret; without the group `vedette` 0600."""
    target = file.path if descriptor is None else descriptor
    group = _service_group()
    mode = 0o644 if not file.secret else 0o600 if group is None else 0o640
    found = os.stat(target)
    if group is not None and (found.st_uid, found.st_gid) != (0, group):
        os.chown(target, 0, group)
    if stat.S_IMODE(found.st_mode) != mode:
        with contextlib.suppress(PermissionError):  # it belongs to somebody else, and its content is right
            os.chmod(target, mode)


def _service_group() -> int | None:
    """The group of the service; None: there is none, or only root may give it files."""
    if os.geteuid() != 0:
        return None
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None


def _problem(path: Path, error: OSError) -> MachineProblem:
    hint = "run it as root (sudo vedette setup), or name a folder that you may write with --config"
    return MachineProblem(f"{path}: {error.strerror or error}", hint=hint)
