"""The file of a camera's scores: a ring of blocks, each of which is valid or ignored.

A block is one page of 4096 bytes with its own checksum, so a write that a power cut tore costs one block, and never the
others. The oldest block is overwritten in place: the file never grows beyond BLOCKS blocks, and is never rewritten.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 4096
ENTRY = np.dtype([("taken", "<f8"), ("score", "<f8"), ("peak", "<f8"), ("last", "<f4"), ("flags", "<u4")])
"""A stretch of SAMPLE_SECONDS (score_history.py). `taken`: when its first frame was taken, seconds since 1970; `score`:
of that frame; `peak`: the highest score that lasted for the frames that a rule asks for; `last`: score of its last
frame; `flags`: see below."""
ALARM = 1  # an event was open in the first frame
ALARM_WITHIN = 2  # an event was open in one of the frames
_MAGIC = b"VDTSCOR1"
MODEL_BYTES, MAX_DEBOUNCE, _MAX_SEQUENCE = 128, 65_535, 1 << 62
_HEADER = struct.Struct(f"<8sIHHQd{MODEL_BYTES}s")
"""Magic, CRC-32 of what follows it, entries, frames that a score must last, sequence number, threshold, model."""
_CHECKED_FROM = 12
ENTRIES = (BLOCK_BYTES - _HEADER.size) // ENTRY.itemsize
BLOCKS = -(-20_000 // ENTRIES)


class ScoreBlock(msgspec.Struct, frozen=True, eq=False):
    """Consecutive scores of one model."""

    sequence: int
    """Counts from 1; its place in the file is the remainder of a division by BLOCKS."""
    model: str
    """`Manifest.model_id`."""
    threshold: float
    """Score from which the model reports an alarm."""
    debounce: int
    """Frames in a row for which `peak` lasted."""
    entries: NDArray[Any]
    """Of the type ENTRY, at most ENTRIES of them."""

    @property
    def offset(self) -> int:
        """Place in the file, bytes."""
        return self.sequence % BLOCKS * BLOCK_BYTES

    def is_like(self, other: ScoreBlock) -> bool:
        """True if both are of the same model with the same settings."""
        mine, others = ((each.model, each.threshold, each.debounce) for each in (self, other))
        return mine == others

    def encode(self) -> bytes:
        """The block as it stands in the file, BLOCK_BYTES long."""
        fields = (len(self.entries), self.debounce, self.sequence, self.threshold, self.model.encode())
        content = (_HEADER.pack(_MAGIC, 0, *fields) + self.entries.tobytes()).ljust(BLOCK_BYTES, b"\0")
        checksum = zlib.crc32(content[_CHECKED_FROM:])
        return content[:8] + checksum.to_bytes(4, "little") + content[_CHECKED_FROM:]


def decode_block(content: bytes) -> ScoreBlock | None:
    """The block in BLOCK_BYTES of a file; None: it is empty or damaged."""
    if len(content) != BLOCK_BYTES:
        return None
    magic, checksum, count, debounce, sequence, threshold, model = _HEADER.unpack_from(content)
    if magic != _MAGIC or checksum != zlib.crc32(content[_CHECKED_FROM:]):
        return None
    if count > ENTRIES or sequence > _MAX_SEQUENCE:
        return None
    entries = np.frombuffer(content, ENTRY, count, _HEADER.size)
    name = model.rstrip(b"\0").decode(errors="replace")
    return ScoreBlock(sequence, name, threshold, debounce, entries)


def read_blocks(path: Path) -> list[ScoreBlock]:
    """The valid blocks of a file, the oldest first; none if there is no such file.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(BLOCKS * BLOCK_BYTES)
    except FileNotFoundError:
        return []
    found = (decode_block(content[start : start + BLOCK_BYTES]) for start in range(0, len(content), BLOCK_BYTES))
    return sorted((block for block in found if block is not None), key=lambda block: block.sequence)
