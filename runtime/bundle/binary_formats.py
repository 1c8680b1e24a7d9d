"""Readers of the two encodings that model files have: protocol buffers (ONNX) and FlatBuffers (TFLite).

They read what the checks of model files need, with every offset and length compared with the end of the file, so that
they are safe on any bytes. They make no objects of a generated schema: a device has none, and what such a library does
with wild offsets is not known.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

MAX_ENTRIES = 1 << 20
"""Most elements of one list, and most fields of one message, that are looked at."""


class ModelFileError(ValueError):
    """A model file is not what the checks allow; the message is one sentence without the name of the file."""


def read_fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a protocol buffer message, by number: an integer, or the bytes of a fixed-size or long value.

    Raises:
        ModelFileError: the message ends inside a field, or has a wire type that ONNX does not use.
    """
    position, count = 0, 0
    while position < len(message):
        key, position = _read_varint(message, position)
        number, wire_type = key >> 3, key & 7
        value: int | memoryview
        if wire_type == 0:
            value, position = _read_varint(message, position)
        elif wire_type in (1, 2, 5):
            size = 8 if wire_type == 1 else 4
            if wire_type == 2:
                size, position = _read_varint(message, position)
            if size > len(message) - position:
                raise ModelFileError("a field is longer than the file")
            value = message[position : position + size]
            position += size
        else:
            raise ModelFileError(f"wire type {wire_type}, which the format does not have")
        count += 1
        if count > MAX_ENTRIES:
            raise ModelFileError("too many fields in one message")
        yield number, value


def read_packed_integers(value: int | memoryview) -> list[int]:
    """The signed integers of a repeated field, packed or not.

    Raises:
        ModelFileError: the value ends inside an integer.
    """
    if isinstance(value, int):
        return [_to_signed(value)]
    found, position = [], 0
    while position < len(value):
        number, position = _read_varint(value, position)
        found.append(_to_signed(number))
        if len(found) > MAX_ENTRIES:
            raise ModelFileError("too many integers in one list")
    return found


def read_text(value: int | memoryview) -> str:
    """The text of a field.

    Raises:
        ModelFileError: it is no text in UTF-8.
    """
    try:
        return bytes(value).decode() if isinstance(value, memoryview) else ""
    except UnicodeDecodeError:
        raise ModelFileError("a name is not UTF-8") from None


def _to_signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ModelFileError("the file ends inside a number")
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & (1 << 64) - 1, position
    raise ModelFileError("a number is longer than 64 bits")


class FlatTable:
    """A table of a FlatBuffers file; fields are numbered from 0, in the order of the schema.

    Raises:
        ModelFileError: the table does not lie inside the file.
    """

    def __init__(self, content: bytes, position: int) -> None:
        self.content, self.position = content, position
        self.fields = position - self._unpack("<i", position)
        self.fields_end = self.fields + self._unpack("<H", self.fields)

    @classmethod
    def root(cls, content: bytes) -> FlatTable:
        """The root table of a file."""
        if len(content) < 8:
            raise ModelFileError("the file is too short")
        return cls(content, struct.unpack_from("<I", content, 0)[0])

    def integer(self, field: int, code: str, default: int = 0) -> int:
        """The integer in a field with the format `code` of `struct`, such as `b` or `I`."""
        place = self._place(field)
        return default if place is None else self._unpack(f"<{code}", place)

    def table(self, field: int) -> FlatTable | None:
        """The table in a field; None: the field is empty."""
        place = self._place(field)
        return None if place is None else FlatTable(self.content, self._follow(place))

    def tables(self, field: int) -> list[FlatTable]:
        """The tables in a list."""
        start, length = self._list(field, 4)
        return [FlatTable(self.content, self._follow(start + 4 * index)) for index in range(length)]

    def integers(self, field: int, code: str = "i") -> tuple[int, ...]:
        """The integers in a list."""
        start, length = self._list(field, struct.calcsize(code))
        return struct.unpack_from(f"<{length}{code}", self.content, start)

    def bytes(self, field: int) -> bytes:
        """The bytes of a list or text."""
        start, length = self._list(field, 1)
        return self.content[start : start + length]

    def byte_count(self, field: int) -> int | None:
        """The length of a list of bytes; None: the field is empty."""
        return None if self._place(field) is None else self._list(field, 1)[1]

    def _list(self, field: int, size: int) -> tuple[int, int]:
        """Start and length of a list with elements of `size` bytes."""
        place = self._place(field)
        if place is None:
            return 0, 0
        start = self._follow(place)
        length = self._unpack("<I", start)
        if length * size > len(self.content) - start - 4 or (size > 1 and length > MAX_ENTRIES):
            raise ModelFileError("a list is longer than the file")
        return start + 4, length

    def _place(self, field: int) -> int | None:
        slot = self.fields + 4 + 2 * field
        if slot + 2 > self.fields_end:
            return None
        offset = self._unpack("<H", slot)
        return self.position + offset if offset else None

    def _follow(self, place: int) -> int:
        return place + self._unpack("<I", place)

    def _unpack(self, code: str, place: int) -> int:
        if place < 0 or place + struct.calcsize(code) > len(self.content):
            raise ModelFileError("an offset points outside the file")
        return int(struct.unpack_from(code, self.content, place)[0])
