"""The shape of an array in the `.npy` format, read without making the array.

A header may claim any shape. NumPy makes an array of it before it looks at the data.
"""

from __future__ import annotations

import ast
import struct
from math import prod

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 4096
_HEADER_KEYS = {"descr", "fortran_order", "shape"}


def read_npy_shape(content: bytes) -> tuple[int, ...] | None:
    """The shape of an array of uint8 in C order; None: the content is something else, or not as long as it says."""
    if content[:6] != _MAGIC or len(content) < 12 or content[6] not in (1, 2):
        return None
    start = 10 if content[6] == 1 else 12
    (length,) = struct.unpack_from("<H" if start == 10 else "<I", content, 8)
    text = content[start : start + min(length, _MAX_HEADER)]
    try:
        header = ast.literal_eval(text.decode("latin1").strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(header, dict) or set(header) != _HEADER_KEYS or header["descr"] not in ("|u1", "u1"):
        return None
    shape = header["shape"]
    if header["fortran_order"] is not False or not _is_shape(shape):
        return None
    return tuple(shape) if prod(shape) == len(content) - start - length else None


def _is_shape(shape: object) -> bool:
    """Whether it is a tuple of at most 16 sides, none negative."""
    return isinstance(shape, tuple) and len(shape) <= 16 and all(type(side) is int and side >= 0 for side in shape)
