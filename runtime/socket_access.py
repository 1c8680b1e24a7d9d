"""Access to the Unix sockets of a daemon: who may use them, and addresses that are short enough.

Its user, root and the members of the group `vedette` may ask.
"""

from __future__ import annotations

import contextlib
import grp
import os
import socket
from collections.abc import Iterator
from pathlib import Path

GROUP = "vedette"


def admit_group(folder: Path, address: Path, name: str = GROUP) -> None:
    """Lets members of a group reach a socket; nothing else in its folder becomes readable.

    Nothing happens if there is no such group, or if this process is not in it.

    Args:
        folder: the folder of the socket, which the group may then pass but not list
        address: the socket
        name: the group
    """
    try:
        group = grp.getgrnam(name).gr_gid
    except KeyError:
        return
    if group not in (os.getegid(), *os.getgroups()):
        return
    for path, mode in ((address, 0o660), (folder, 0o710), (folder.parent, 0o710)):
        with contextlib.suppress(OSError):  # it belongs to somebody else, or the service may not
            found = path.stat()
            if found.st_uid != os.geteuid():
                continue
            if found.st_gid != group:
                os.chown(path, -1, group)
            path.chmod(found.st_mode & 0o7700 | found.st_mode & 0o005 | mode)


@contextlib.contextmanager
def short_path(folder: Path) -> Iterator[str]:
    """A short path of `folder`: the address of a Unix socket has at most 108 bytes (unix(7)).

    Raises:
        OSError: there is no such folder.
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def listen_in(folder: Path, name: str) -> socket.socket:
    """A Unix socket that listens in a folder, in place of one that an earlier process left; the group may connect.

    Raises:
        OSError: the folder does not take it.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(folder) as place:
            Path(place, name).unlink(missing_ok=True)
            listener.bind(f"{place}/{name}")
            admit_group(folder, Path(place, name))
        listener.listen(8)
    except OSError:
        listener.close()
        raise
    return listener


def end_listening(listener: socket.socket) -> None:
    """Closes a listening socket; a thread that waits in `accept` gets an OSError."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept
    listener.close()
