"""The bundle of an order, fetched in pieces over MQTT: the box asks for some, and takes only those that it asked for.

answer        {"order": NONCE, "state": "fetching", "pieces": [8, 9, …], …}, on the response topic of the order
cmd/piece     16 bytes of the nonce, 4 bytes with the number of the piece (big endian), PIECE_BYTES of the bundle
"""

from __future__ import annotations

import queue
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ...errors import MachineProblem
from .bundle_download import check_digest
from .order import Order

PIECE_BYTES = 32 << 10
WINDOW = 8
"""Pieces that are asked for at once."""
WAIT_SECONDS = 10.0
MAX_REQUESTS = 6
"""So often the same pieces are asked for in vain."""
_HEAD = struct.Struct(">16sI")


def encode_piece(nonce: str, number: int, data: bytes) -> bytes:
    """The payload of `cmd/piece`."""
    return _HEAD.pack(bytes.fromhex(nonce), number) + data


class PieceReceiver:
    """Takes the pieces of one bundle at a time."""

    def __init__(self) -> None:
        self.arrived = queue.Queue[tuple[int, bytes]](2 * WINDOW)
        self.expected = threading.Event()
        self.nonce = b""

    def take(self, payload: bytes) -> None:
        """Takes a payload of `cmd/piece`. Never blocks, never raises; what nobody asked for is dropped."""
        if not self.expected.is_set() or not _HEAD.size < len(payload) <= _HEAD.size + PIECE_BYTES:
            return
        nonce, number = _HEAD.unpack_from(payload)
        if nonce == self.nonce and not self.arrived.full():
            self.arrived.put_nowait((number, payload[_HEAD.size :]))

    def fetch(self, order: Order, path: Path, ask: Callable[[list[int]], None]) -> None:
        """Fetches the bundle of an order into a file.

        Args:
            order: an installation with the source `mqtt`
            path: the file
            ask: sends the numbers of pieces that are wanted

        Raises:
            MachineProblem: nobody sends the pieces, or the disk does not take them.
            BundleProblem: they are not the bundle of the order.
        """
        while not self.arrived.empty():
            self.arrived.get_nowait()
        self.nonce = bytes.fromhex(order.nonce)
        self.expected.set()
        missing = set(range(-(-order.bytes // PIECE_BYTES)))
        requests = 0
        try:
            with path.open("wb") as file:
                while missing:
                    if requests == MAX_REQUESTS:
                        raise MachineProblem(f"nobody sends the pieces {sorted(missing)[:WINDOW]} of the bundle")
                    wanted = set(sorted(missing)[:WINDOW])
                    ask(sorted(wanted))
                    requests += 1
                    end = time.monotonic() + WAIT_SECONDS
                    while wanted & missing:
                        try:
                            number, data = self.arrived.get(timeout=max(end - time.monotonic(), 0.0))
                        except queue.Empty:
                            break
                        if number in missing and len(data) == min(PIECE_BYTES, order.bytes - number * PIECE_BYTES):
                            file.seek(number * PIECE_BYTES)
                            file.write(data)
                            missing.discard(number)
                            requests = 0
        except OSError as error:
            raise MachineProblem(f"{path}: {error.strerror}") from None
        finally:
            self.expected.clear()
        check_digest(order, path)
