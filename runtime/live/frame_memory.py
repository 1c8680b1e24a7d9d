"""The memory in which live frames reach their readers: a file that exists in memory only, cut into slots.

The file has no name, so nobody can open it without its descriptor, nothing has to be removed after a crash, and it is
gone with the last process that has it. It is sealed: it keeps its size, and only the daemon can write to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os

_FUTURE_WRITE = 0x10  # F_SEAL_FUTURE_WRITE of fcntl(2), Linux 5.1; Python names it from 3.13 on


class FrameMemory:
    """The daemon's side.

    Args:
        slot_bytes: bytes of a slot
        slots: number of slots; one that is never written takes no memory

    Raises:
        OSError: there is no memory.
    """

    def __init__(self, slot_bytes: int, slots: int) -> None:
        self.slot_bytes = -(-slot_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self.descriptor = os.memfd_create("vedette-live", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, self.descriptor)
            os.ftruncate(self.descriptor, self.slot_bytes * slots)
            self.space = mmap.mmap(self.descriptor, 0)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _FUTURE_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)
            stack.pop_all()

    def slot(self, number: int) -> memoryview:
        """The bytes of a slot."""
        return memoryview(self.space)[number * self.slot_bytes : (number + 1) * self.slot_bytes]

    def close(self) -> None:
        """Lets go of the memory; readers that have it keep it. No view of a slot may exist any more."""
        self.space.close()
        os.close(self.descriptor)
