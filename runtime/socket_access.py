"""Access to the Unix sockets of a daemon: who may use them, who does, and addresses that are short enough.

Its user, root and the members of the group `vedette` may ask.
"""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import pwd
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import UNREADABLE

log = logging.getLogger(__name__)

GROUP = "vedette"
_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group


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


def read_peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user on the other side of a Unix socket, as the kernel says (unix(7), SO_PEERCRED).

    Raises:
        OSError: the socket has none.
    """
    process, user, _ = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return process, user


def name_user(user: int) -> str:
    """A user by name, or by number if the number has no name."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


class SocketServer(threading.Thread):
    """Answers clients at a Unix socket, one after the other, in place of a server that an earlier process left.

    Args:
        folder: of the socket
        name: of the socket
        answer: answers one client; its OSErrors, and what it cannot read, end the connection
        loss: what does not work if the folder does not take the socket, for the log
    """

    SECONDS = 5.0
    """Longest wait for a client."""

    def __init__(self, folder: Path, name: str, answer: Callable[[socket.socket], None], loss: str) -> None:
        super().__init__(name=name, daemon=True)
        self.answer = answer
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_path(folder) as place:
                Path(place, name).unlink(missing_ok=True)
                self.listener.bind(f"{place}/{name}")
                admit_group(folder, Path(place, name))
            self.listener.listen(8)
        except OSError as error:
            log.warning("%s: %s: %s", loss, folder, error.strerror)
            self.listener.close()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:  # `close` was called
                return
            with connection, contextlib.suppress(OSError, *UNREADABLE):
                connection.settimeout(self.SECONDS)
                self.answer(connection)

    def close(self) -> None:
        """Ends."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self.listener.close()
