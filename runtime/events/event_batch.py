"""Batches of events: CloudEvents in JSON batch format, `application/cloudevents-batch+json`, plain or as a gzip file.

MQTT has no field for a compression. A reader tells a gzip file (RFC 1952) by its first two bytes, 1f 8b; JSON begins
with a bracket.
"""

from __future__ import annotations

import zlib

import msgspec

from ..config.batch_table import BatchEncoding

BATCH_TYPE = "application/cloudevents-batch+json"
MAX_BATCH_BYTES = 4 << 20
"""Most bytes of a batch that a receiver unpacks."""
_GZIP_MARK, _GZIP_WINDOW = b"\x1f\x8b", 31  # the latter means 32 KiB and a gzip header to zlib
_LEVEL = 9


class BatchPayload:
    """The payload of a batch, which grows event by event."""

    def __init__(self, encoding: BatchEncoding) -> None:
        self.compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW) if encoding == "gzip" else None
        self.written = b""
        self.count = 0

    def add(self, event: bytes) -> None:
        """Adds an event, a CloudEvent in JSON."""
        piece = self._piece(event)
        self.written += piece if self.compressor is None else self.compressor.compress(piece)
        self.count += 1

    def size_with(self, event: bytes) -> int:
        """Bytes of the payload if this event were added."""
        return len(self._finish(self._piece(event)))

    def finish(self) -> bytes:
        """The payload as it is now; more events can be added."""
        return self._finish(b"" if self.count else b"[")

    def _piece(self, event: bytes) -> bytes:
        return (b"," if self.count else b"[") + event

    def _finish(self, more: bytes) -> bytes:
        if self.compressor is None:
            return self.written + more + b"]"
        copy = self.compressor.copy()
        return self.written + copy.compress(more + b"]") + copy.flush()


def split_batch(payload: bytes) -> list[bytes]:
    """The events of a batch, each a CloudEvent in JSON, in their order.

    Raises:
        ValueError: the payload is not a batch, or larger than MAX_BATCH_BYTES when unpacked.
    """
    if payload.startswith(_GZIP_MARK):
        unpacker = zlib.decompressobj(_GZIP_WINDOW)
        try:
            payload = unpacker.decompress(payload, MAX_BATCH_BYTES)
        except zlib.error as error:
            raise ValueError(f"not a gzip file: {error}") from None
        if not unpacker.eof:
            raise ValueError("the gzip file is cut off, or too large")
    if len(payload) > MAX_BATCH_BYTES:
        raise ValueError("the batch is too large")
    return [bytes(each) for each in msgspec.json.decode(payload, type=list[msgspec.Raw])]
