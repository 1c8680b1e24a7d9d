"""A TCP connection that can be refused, slow, silent, cut, or broken again and again."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

from camera import Listener


class Proxy(Listener):
    """Forwards from a port of its own to `port`, while `open`; `delay` seconds late, nothing while `silent`."""

    def __init__(self, port, open=True):  # noqa: A002  # a door is
        self.target, self.open, self.delay, self.silent = port, open, 0.0, False
        self.pairs = []
        super().__init__()

    def reset(self):
        """Ends every connection rudely; how many those were."""
        pairs, self.pairs = self.pairs, []
        for end in (end for pair in pairs for end in pair):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD)  # wakes the thread that reads it
            end.close()
        return len(pairs)

    def shut(self):
        """Refuses connections from now on, and ends those there are."""
        self.open = False
        self.reset()

    def close(self):
        super().close()
        self.shut()

    def _serve(self, connection):
        far = socket.socket()
        if not self.open or far.connect_ex(("127.0.0.1", self.target)):
            connection.close()
            return
        self.pairs.append((connection, far))
        threading.Thread(target=self._pump, args=(far, connection), daemon=True).start()
        self._pump(connection, far)

    def _pump(self, source, sink):
        with contextlib.suppress(OSError, ValueError):
            while data := source.recv(65536):
                while self.silent and self.running:
                    time.sleep(0.05)
                time.sleep(self.delay)
                sink.sendall(data)
        for end in (source, sink):
            end.close()
