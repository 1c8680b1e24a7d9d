"""The daemon's side of live frames: each frame that a viewer asked for is copied once, and no other.

A reader sends a request and gets the next frame, or one that was copied for another reader within SHARED_SECONDS. So
several viewers cost about as much as one. The picture lies in a slot of the memory, which the reader copies before it
sends the next request. The daemon writes only to slots that no reader has, and there is one slot more than
readers. So nobody waits for anybody, no picture is ever seen half written, and a reader that stops, or is killed, holds
one slot at most. All of it happens in the daemon's loop, at the cost of one system call a frame while nobody looks.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import struct
import time
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..socket_access import short_path
from .frame_memory import FrameMemory
from .live_frame import MAX_MESSAGE, MAX_SIDE, SOCKET_NAME, FrameDetails, FrameMessage, heat_offset

log = logging.getLogger(__name__)

MAX_READERS = 8
SHARED_SECONDS = 0.08
_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group (unix(7), SO_PEERCRED)


class _Reader:
    """A connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.asks = False
        self.slot: int | None = None
        self.memory: FrameMemory | None = None
        """The memory whose descriptor it has."""
        self.number = -1
        """Number of the frame that it received last."""


class _Copy(msgspec.Struct, frozen=True):
    """The frame that was copied last."""

    when: float
    """By time.monotonic()."""
    number: int
    slot: int
    message: bytes


class LiveFrameWriter:
    """Serves live frames at a Unix socket in `folder`; without one it does nothing. One thread uses it."""

    def __init__(self, folder: Path) -> None:
        self.readers: dict[int, _Reader] = {}
        self.memory: FrameMemory | None = None
        self.newest: _Copy | None = None
        self.copied = 0
        """Bytes of pictures and heat maps that were copied for readers since the start."""
        self.poll = select.epoll()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with short_path(folder) as place:
                address = Path(place, SOCKET_NAME)
                address.unlink(missing_ok=True)
                self.listener.bind(str(address))
                address.chmod(0o600)
            self.listener.listen(MAX_READERS)
            self.listener.setblocking(False)
            self.poll.register(self.listener, select.EPOLLIN)
        except OSError as error:
            log.warning("nobody can watch this camera live: %s: %s", folder, error.strerror)

    def is_wanted(self) -> bool:
        """True if a reader waits for a new frame. It never blocks; the daemon calls it for each frame."""
        for descriptor, _ in self.poll.poll(0):
            reader = self.readers.get(descriptor)
            if reader is None:
                self._accept()
            else:
                self._receive(reader)
        if not self.readers and self.memory is not None:
            self._forget_memory()
        waiting = [reader for reader in self.readers.values() if reader.asks]
        if waiting and self.newest is not None and time.monotonic() - self.newest.when < SHARED_SECONDS:
            for reader in waiting:
                if reader.number != self.newest.number:
                    self._send(reader, self.newest)
        return any(reader.asks for reader in waiting)

    def write(self, details: FrameDetails, pixels: NDArray[Any], heat_map: NDArray[np.float32] | None) -> None:
        """Gives a frame to the readers that wait.

        Args:
            details: what is known about it
            pixels: H x W x 3, uint8, blue-green-red
            heat_map: h x w, float32; None: there is none
        """
        waiting = [reader for reader in self.readers.values() if reader.asks]
        scale = min(1.0, MAX_SIDE / max(pixels.shape[:2]))
        height, width = (max(1, round(scale * side)) for side in pixels.shape[:2])
        size = heat_offset(3 * height * width) + (0 if heat_map is None else heat_map.nbytes)
        try:
            if self.memory is None or self.memory.slot_bytes < size:
                self._forget_memory()
                self.memory = FrameMemory(size, MAX_READERS + 1)
        except OSError as error:
            log.warning("no memory for live frames: %s", error.strerror)
            return
        taken = {reader.slot for reader in self.readers.values() if reader.memory is self.memory}
        slot = next(number for number in range(MAX_READERS + 1) if number not in taken)
        self._fill(self.memory.slot(slot), pixels, (height, width), heat_map)
        self.copied += size
        heat_shape = None if heat_map is None else (heat_map.shape[0], heat_map.shape[1])
        message = _encode(FrameMessage(details, slot * self.memory.slot_bytes, (height, width), heat_shape))
        self.newest = _Copy(time.monotonic(), details.number, slot, message)
        for reader in waiting:
            self._send(reader, self.newest)

    def close(self) -> None:
        """Ends all connections."""
        for reader in [*self.readers.values()]:
            self._drop(reader)
        self._forget_memory()
        self.listener.close()
        self.poll.close()

    @staticmethod
    def _fill(
        space: memoryview, pixels: NDArray[Any], size: tuple[int, int], heat_map: NDArray[np.float32] | None
    ) -> None:
        picture = np.frombuffer(space, np.uint8, 3 * size[0] * size[1]).reshape(*size, 3)
        cv2.resize(pixels, size[::-1], dst=picture, interpolation=cv2.INTER_LINEAR)  # a copy where nothing changes
        if heat_map is not None:
            place = np.frombuffer(space, np.float32, heat_map.size, heat_offset(picture.size))
            place[:] = heat_map.ravel()

    def _accept(self) -> None:
        """Takes all readers that have connected, and what they ask for."""
        with contextlib.suppress(OSError):  # there are no more, or one has hung up already
            while True:
                connection, _ = self.listener.accept()
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                _, user, _ = _CREDENTIALS.unpack(credentials)
                if user not in (0, os.geteuid()) or len(self.readers) >= MAX_READERS:
                    connection.close()
                    continue
                connection.setblocking(False)
                reader = self.readers[connection.fileno()] = _Reader(connection)
                self.poll.register(connection, select.EPOLLIN)
                self._receive(reader)

    def _receive(self, reader: _Reader) -> None:
        try:
            while reader.connection.recv(16):
                reader.asks, reader.slot = True, None
        except BlockingIOError:
            return
        except OSError:  # it was reset
            pass
        self._drop(reader)

    def _send(self, reader: _Reader, copy: _Copy) -> None:
        assert self.memory is not None
        descriptors = [] if reader.memory is self.memory else [self.memory.descriptor]
        try:
            socket.send_fds(reader.connection, [copy.message], descriptors)
        except OSError:  # it has ended, or does not take what it asked for
            self._drop(reader)
            return
        reader.asks, reader.slot, reader.number, reader.memory = False, copy.slot, copy.number, self.memory

    def _drop(self, reader: _Reader) -> None:
        del self.readers[reader.connection.fileno()]
        self.poll.unregister(reader.connection)
        reader.connection.close()

    def _forget_memory(self) -> None:
        if self.memory is not None:
            self.memory.close()
            self.memory = self.newest = None


def _encode(message: FrameMessage) -> bytes:
    """The message; predictions of the lowest scores are left out if it gets too long."""
    encoded = msgspec.msgpack.encode(message)
    while len(encoded) > MAX_MESSAGE and message.details.predictions:
        details = message.details
        best = sorted(details.predictions, key=lambda each: -each.score)[: len(details.predictions) // 2]
        details = msgspec.structs.replace(details, predictions=tuple(best), open_rules=details.open_rules[:16])
        message = msgspec.structs.replace(message, details=details)
        encoded = msgspec.msgpack.encode(message)
    return encoded
