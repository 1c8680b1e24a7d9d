"""A triple buffer in shared memory, between the capture process and the daemon.

The capture process writes frames into three slots in turn and announces each complete one; the daemon copies the
newest. While it copies, the writer may fill the two other slots; if it has reached the same slot meanwhile, the copy is
discarded. So neither process waits for the other. The first page holds the interval between frames that the daemon
wants.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

SLOT_COUNT = 3
_PAGE_BYTES = 4096
_INTERVAL = struct.Struct("<d")


class BufferWriter:
    """The capture process's side.

    Args:
        memory: descriptor of the shared file, which gets its size with the first frame
    """

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.header = mmap.mmap(memory, _PAGE_BYTES)
        self.slots: list[Any] = []
        self.next_slot = 0

    @property
    def interval(self) -> float:
        """Seconds between frames that the daemon wants; 0: every frame."""
        return float(_INTERVAL.unpack_from(self.header)[0])

    def write_frame(self, retrieve: Callable[[Any], Any]) -> tuple[int, tuple[int, ...]]:
        """Stores the frame that `retrieve` returns, H x W x 3, uint8; returns its slot and its shape.

        Args:
            retrieve: takes the array of the slot, or None before the first frame; returns the frame, there or
                elsewhere
        """
        pixels = retrieve(self.slots[self.next_slot] if self.slots else None)
        if not self.slots:
            os.ftruncate(self.memory, _PAGE_BYTES + SLOT_COUNT * pixels.nbytes)
            self.slots = _map_slots(self.memory, pixels.shape)
        slot, self.next_slot = self.next_slot, (self.next_slot + 1) % SLOT_COUNT
        if pixels.shape != self.slots[slot].shape:
            raise RuntimeError(f"the size of the frames changed from {self.slots[slot].shape} to {pixels.shape}")
        if pixels is not self.slots[slot]:
            self.slots[slot][:] = pixels
        return slot, pixels.shape


class BufferReader:
    """The daemon's side."""

    def __init__(self) -> None:
        self.memory = os.memfd_create("vedette-camera")
        os.ftruncate(self.memory, _PAGE_BYTES)
        self.header = mmap.mmap(self.memory, _PAGE_BYTES)
        self.slots: list[Any] = []

    def set_interval(self, interval: float) -> None:
        """Sets the writer's interval between frames, in seconds."""
        _INTERVAL.pack_into(self.header, 0, interval)

    def copy_frame(self, slot: int, shape: tuple[int, ...]) -> Any:
        """A copy of the frame in a slot, H x W x 3, uint8."""
        if not self.slots:
            self.slots = _map_slots(self.memory, shape)
        return self.slots[slot].copy()

    def close(self) -> None:
        self.slots.clear()
        self.header.close()
        os.close(self.memory)


def _map_slots(memory: int, shape: tuple[int, ...]) -> list[Any]:
    size = int(np.prod(shape))
    space = mmap.mmap(memory, _PAGE_BYTES + SLOT_COUNT * size)
    return [
        np.frombuffer(space, np.uint8, size, _PAGE_BYTES + slot * size).reshape(shape) for slot in range(SLOT_COUNT)
    ]
