"""The viewer's side of live frames."""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import socket
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..errors import UNREADABLE
from ..socket_access import short_path
from .live_frame import MAX_MESSAGE, REQUEST, SOCKET_NAME, FrameMessage, LiveFrame, heat_offset


class LiveFrameReader:
    """Reads live frames of one camera. Each viewer has its own reader, and uses it from one thread at a time.

    It connects by itself, and again after the daemon was started anew. The daemon must belong to the same user, or this
    process to root.

    Args:
        folder: the camera's state folder (`Config.state_folder`)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connection: socket.socket | None = None
        self.memory: mmap.mmap | None = None
        self.is_waiting = False
        """True if a frame was asked for and has not come yet."""

    def read(self, timeout: float = 0.5) -> LiveFrame | None:
        """The next frame: the first one that the daemon processes after this call asked for it, or one that another
        viewer received within the last 80 ms. No frame is returned twice.

        So whoever calls it more often sees more frames, up to all of them. A frame that came after `timeout` is
        returned by the next call.

        Args:
            timeout: seconds to wait at most

        Returns:
            The frame; None: none came in time, or no daemon runs (`is_connected` tells them apart).
        """
        try:
            connection = self.connection or self._connect()
            if not self.is_waiting:
                connection.send(REQUEST)
                self.is_waiting = True
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            if not poll.poll(1000 * timeout):
                return None
            data, descriptors, _, _ = socket.recv_fds(connection, MAX_MESSAGE, 1)
            for descriptor in descriptors:
                self._map(descriptor)
            self.is_waiting = False
            return self._copy(msgspec.msgpack.decode(data, type=FrameMessage))
        except (OSError, ValueError, *UNREADABLE):  # the daemon has ended
            self.close()
            return None

    @property
    def is_connected(self) -> bool:
        """True if a daemon answered the last time."""
        return self.connection is not None

    def close(self) -> None:
        """Ends the connection. The next `read` makes a new one."""
        if self.connection is not None:
            self.connection.close()
        if self.memory is not None:
            self.memory.close()
        self.connection, self.memory, self.is_waiting = None, None, False

    def __enter__(self) -> LiveFrameReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            connection.setblocking(False)
            with short_path(self.folder) as place:
                connection.connect(f"{place}/{SOCKET_NAME}")
            stack.pop_all()
        self.connection = connection
        return connection

    def _map(self, descriptor: int) -> None:
        try:
            memory = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        if self.memory is not None:
            self.memory.close()
        self.memory = memory

    def _copy(self, message: FrameMessage) -> LiveFrame:
        """The frame with copies of its arrays; the daemon does not write there before the next request.

        Raises:
            ValueError: there is no memory, or it is smaller than the message says.
        """
        if self.memory is None:
            raise ValueError("no memory")
        height, width = message.shape
        pixels = np.frombuffer(self.memory, np.uint8, 3 * height * width, message.offset)
        heat_map: Any = None
        if message.heat_shape is not None:
            rows, columns = message.heat_shape
            heat_map = np.frombuffer(self.memory, np.float32, rows * columns, message.offset + heat_offset(pixels.size))
            heat_map = heat_map.reshape(rows, columns).copy()
        details = message.details
        return LiveFrame(
            moment=details.moment,
            taken=details.taken,
            number=details.number,
            pixels=np.ascontiguousarray(pixels.reshape(height, width, 3)[..., ::-1]),
            predictions=details.predictions,
            score=details.score,
            threshold=details.threshold,
            model=details.model,
            heat_map=heat_map,
            open_rules=details.open_rules,
            limit=details.threshold if details.limit is None else details.limit,
            region=details.region,
        )
