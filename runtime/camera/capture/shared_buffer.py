"""Three pictures in memory that two processes share.

The camera's process writes into them in turn and tells the daemon of each that is whole; the daemon copies the newest.
While it copies one, the writer may fill the two others; if it has come round meanwhile, the copy is thrown away. So
neither ever waits for the other. The first page holds what the daemon tells the writer: the seconds between pictures.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

SLOTS = 3
_PAGE = 4096
_INTERVAL = struct.Struct("<d")


class Writer:
    """The camera's side.

    Args:
        memory: descriptor of the shared file; it gets its size with the first picture
    """

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.page = mmap.mmap(memory, _PAGE)
        self.views: list[Any] = []
        self.turn = 0

    @property
    def interval(self) -> float:
        """Seconds between two pictures that the daemon wants; 0: all there are."""
        return float(_INTERVAL.unpack_from(self.page)[0])

    def put(self, picture: Callable[[Any], Any]) -> tuple[int, tuple[int, ...]]:
        """Stores what `picture` gives, H x W x 3, uint8; which slot it is in, and its shape.

        Args:
            picture: takes the slot's array, or None before there is one, and gives the picture, in there or elsewhere
        """
        pixels = picture(self.views[self.turn] if self.views else None)
        if not self.views:
            os.ftruncate(self.memory, _PAGE + SLOTS * pixels.nbytes)
            self.views = _views(self.memory, pixels.shape)
        slot, self.turn = self.turn, (self.turn + 1) % SLOTS
        if pixels.shape != self.views[slot].shape:
            raise RuntimeError(f"the picture's size changed from {self.views[slot].shape} to {pixels.shape}")
        if pixels is not self.views[slot]:
            self.views[slot][:] = pixels
        return slot, pixels.shape


class Reader:
    """The daemon's side."""

    def __init__(self) -> None:
        self.memory = os.memfd_create("vedette-camera")
        os.ftruncate(self.memory, _PAGE)
        self.page = mmap.mmap(self.memory, _PAGE)
        self.views: list[Any] = []

    def pace(self, interval: float) -> None:
        """Tells the writer how many seconds are to lie between two pictures."""
        _INTERVAL.pack_into(self.page, 0, interval)

    def copy(self, slot: int, shape: tuple[int, ...]) -> Any:
        """A picture of its own, H x W x 3, uint8."""
        if not self.views:
            self.views = _views(self.memory, shape)
        return self.views[slot].copy()

    def close(self) -> None:
        self.views.clear()
        self.page.close()
        os.close(self.memory)


def _views(memory: int, shape: tuple[int, ...]) -> list[Any]:
    size = int(np.prod(shape))
    space = mmap.mmap(memory, _PAGE + SLOTS * size)
    return [np.frombuffer(space, np.uint8, size, _PAGE + slot * size).reshape(shape) for slot in range(SLOTS)]
