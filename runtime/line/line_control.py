"""Commands to the line of a camera from this machine: a Unix socket in the camera's state folder.

A client sends one line of JSON and gets one. The kernel tells which user it is, so an event can name who acknowledged.
The daemon's user, root and the members of the group `vedette` may connect, as for the status.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from ..errors import UNREADABLE
from ..socket_access import SocketServer, name_user, read_peer, short_path
from .golden_messages import GoldenCommand, GoldenStatus

SOCKET_NAME = "line.sock"
_MAX_BYTES = 1 << 16


class LineControl(SocketServer):
    """Serves the socket.

    Args:
        folder: the camera's state folder
        obey: obeys a command of a user of this machine
    """

    def __init__(self, folder: Path, obey: Callable[[GoldenCommand, str], GoldenStatus]) -> None:
        def answer(connection: socket.socket) -> None:
            command = msgspec.json.decode(_read_line(connection), type=GoldenCommand)
            connection.sendall(msgspec.json.encode(obey(command, name_user(read_peer(connection)[1]))) + b"\n")

        super().__init__(folder, SOCKET_NAME, answer, "vedette golden-part cannot reach this daemon")


def send_command(folder: Path, command: GoldenCommand) -> GoldenStatus | None:
    """The answer of the daemon whose socket lies in `folder`; None: none runs, or it has no line, or does not answer.

    Raises:
        PermissionError: this user may not command it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SocketServer.SECONDS)
        try:
            with short_path(folder) as place:
                connection.connect(f"{place}/{SOCKET_NAME}")
            connection.sendall(msgspec.json.encode(command) + b"\n")
            return msgspec.json.decode(_read_line(connection), type=GoldenStatus)
        except PermissionError:
            raise
        except (OSError, *UNREADABLE):
            return None


def _read_line(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as stream:
        return stream.readline(_MAX_BYTES)
