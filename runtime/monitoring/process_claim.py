"""One process per camera and per MQTT identity on this machine, whoever started it.

The outbox's lock file protects only who may write it: a daemon that an ordinary user starts beside the service would
keep its events in memory, take the service's MQTT client name, and both would throw each other off the broker. So a
daemon also claims two names in the kernel's abstract namespace of Unix sockets (unix(7)), which need no file and no
permission, and are free again when the process ends, however it ends. Any user may claim a name, so a claim of another
user keeps nobody's service from starting; only a start by hand is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
from collections.abc import Iterator

import msgspec

from ..config.configuration import Config
from ..errors import MachineProblem, locate_errors
from ..events.mqtt_identity import client_id
from ..plugin_tables import split_url
from ..socket_access import name_user, read_peer

log = logging.getLogger(__name__)

_BACKLOG = 64  # nobody accepts; each process that asks takes a place until this one ends
_PORTS = {"mqtt": 1883, "mqtts": 8883}


class Holder(msgspec.Struct, frozen=True):
    """The process that has a name; None: unknown."""

    process: int | None = None
    user: int | None = None

    def __str__(self) -> str:
        if self.process is None or self.user is None:
            return "another process"
        return f"process {self.process} of the user {name_user(self.user)}"


@contextlib.contextmanager
def claim_camera(settings: Config) -> Iterator[None]:
    """Claims the state folder and the MQTT identity of a camera for this process, until it leaves the context.

    Raises:
        MachineProblem: another process has one of them. A systemd service is refused only what its own user or root
            has: others could keep it from starting.
    """
    with contextlib.ExitStack() as stack:
        for what, name in _names(settings).items():
            claimed = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            address = b"\0vedette/" + hashlib.sha256(name.encode()).hexdigest()[:40].encode()
            try:
                claimed.bind(address)
                claimed.listen(_BACKLOG)
            except OSError:
                _refuse_or_warn(settings.camera, what, _find_holder(address))
        yield


def _names(settings: Config) -> dict[str, str]:
    names = {f"the state folder {settings.state_folder}": f"state {settings.state_folder.resolve()}"}
    with locate_errors(settings.device_file):
        parts = split_url(settings.broker.url, "broker.url")
    if parts.scheme in _PORTS:
        identity = client_id(settings)
        broker = f"{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"
        names[f"the MQTT client name {identity} at {broker}"] = f"mqtt {broker} {identity}"
    return names


def _refuse_or_warn(camera: str, what: str, holder: Holder) -> None:
    is_service = "NOTIFY_SOCKET" in os.environ
    if is_service and holder.user not in (0, os.geteuid()):
        log.warning("%s also uses %s: end it", holder, what)
        return
    hint = (
        f"it is watched already: vedette status {camera}. To run it by hand, stop that process first "
        f"(systemctl stop vedette@{camera}), or give this one another device.name and state"
    )
    raise MachineProblem(f"{camera}: {holder} has {what}", hint=hint)


def _find_holder(address: bytes) -> Holder:
    """Process and user of the listener at an abstract address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            connection.connect(address)
            return Holder(*read_peer(connection))
        except OSError:
            return Holder()
