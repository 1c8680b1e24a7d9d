"""A GigE Vision camera in software, on the loopback interface, whose pictures carry chunk data.

aravis' own camera in software sends none. This one speaks the two protocols of GigE Vision: GVCP, which reads and
writes its registers, and GVSP, which carries its pictures. It describes itself as each GenICam camera does
(gige_camera_features.py). Numbers of registers, commands and packets are those of GigE Vision.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Literal

import numpy as np
import pytest
from fake_genicam import ADDRESS, lock_control_port
from gige_camera_features import (
    ACQUISITION,
    CHUNK_ENABLE,
    CHUNK_MODE,
    FEATURES_AT,
    PAYLOAD_SIZE,
    PIXEL_FORMAT,
    TIMESTAMP_CHUNK,
    describe,
)
from numpy.typing import NDArray

from vedette.runtime.camera.capture.aravis import LIBRARY, Aravis

SIDE = 64
"""Width and height of its pictures, which have 8 bits of gray."""
IMAGE, CHUNK_DATA, IMAGE_WITH_CHUNKS = 0x0001, 0x0004, 0x4001
"""Types of payload."""
_CONTROL_PORT = 3956
_TICK_HIGH, _TICK_LOW, _HEARTBEAT, _PRIVILEGE = 0x093C, 0x0940, 0x0938, 0x0A00
_STREAM_PORT, _PACKET_SIZE, _STREAM_ADDRESS = 0x0D00, 0x0D04, 0x0D18
_XML_URL, _XML_AT = 0x0200, 0x10000
_DISCOVER, _READ_REGISTER, _WRITE_REGISTER, _READ_MEMORY, _WRITE_MEMORY = 0x0002, 0x0080, 0x0082, 0x0084, 0x0086
_DISCOVERY_BYTES = 0xF8
_DENIED = 0x8006
_LEADER, _TRAILER, _PAYLOAD = 1, 2, 3
_HEADERS = 20 + 8 + 8  # of IP, UDP and GVSP, which a packet's size includes
_IMAGE_CHUNK, _OTHER_CHUNK = 0x1000, 0x1002
_MONO8 = 0x01080001

DELAYS = 0.30, 0.33
"""By how many seconds the time in a picture's header is later than its exposure, in turn."""
Fault = Literal["", "no chunk data", "no time", "short", "broken", "old", "far"]
"""What may be wrong with the chunk data of a picture."""


def _has_aravis() -> bool:
    try:
        return bool(Aravis())
    except RuntimeError:
        return False


needs_aravis = pytest.mark.skipif(not _has_aravis(), reason=f"needs {LIBRARY}: apt install libaravis-0.8-0")


def read_number(pixels: NDArray[np.uint8]) -> int:
    """The number of a picture, which its first pixels have."""
    return int.from_bytes(pixels[0, :4, 0].tobytes(), "big")


class GigeCamera:
    """The camera; one at a time, because its port is fixed.

    Args:
        has_chunks: its description names chunk data
        payload_type: of pictures with chunk data
        tick_frequency: of its clock, ticks a second
    """

    def __init__(
        self, *, has_chunks: bool = True, payload_type: int = IMAGE_WITH_CHUNKS, tick_frequency: int = 125_000_000
    ) -> None:
        self.lock = lock_control_port()
        self.payload_type, self.tick_frequency = payload_type, tick_frequency
        self.faults: dict[int, Fault] = {}
        """What is wrong with the chunk data of a picture, by its number."""
        self.exposed: list[float] = []
        """When each picture was exposed, `time.monotonic`."""
        self.started_at = time.monotonic() - 1000.0
        self.memory = bytearray(_XML_AT)
        xml = describe(has_chunks).encode()
        self._put_text(0x0048, 32, "Vedette")
        self._put_text(0x0068, 32, "Chunks")
        self._put_text(0x00D8, 16, "7")
        self._put_text(_XML_URL, 512, f"Local:camera.xml;{_XML_AT:x};{len(xml):x}")
        self.memory += xml + bytes(-len(xml) % 4 + 512)
        registers = {0x0000: 0x00020000, 0x0600: 1, 0x0904: 1, _HEARTBEAT: 6000, _PACKET_SIZE: 1500}
        registers |= {_TICK_HIGH: tick_frequency >> 32, _TICK_LOW: tick_frequency & 0xFFFFFFFF, PIXEL_FORMAT: _MONO8}
        registers |= {FEATURES_AT: SIDE, FEATURES_AT + 4: SIDE, 0x0024: 0x7F000001}
        for address, value in registers.items():
            self._set(address, value)
        self.controller: tuple[str, int] | None = None
        self.controlled_at = 0.0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ADDRESS, _CONTROL_PORT))
        self.stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.stream.bind((ADDRESS, 0))
        self.is_closed = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def switch_chunks_on(self) -> None:
        """As another program did before."""
        self._set(CHUNK_MODE, 1)
        self._set(CHUNK_ENABLE, 1)

    def close(self) -> None:
        self.is_closed.set()
        self.thread.join()
        self.socket.close()
        self.stream.close()
        self.lock.close()

    def _run(self) -> None:
        next_picture = time.monotonic()
        while not self.is_closed.is_set():
            self.socket.settimeout(min(0.05, max(0.001, next_picture - time.monotonic())))
            with contextlib.suppress(TimeoutError, ConnectionError):
                packet, sender = self.socket.recvfrom(65536)
                self._answer(packet, sender)
            if time.monotonic() - self.controlled_at > self.read(_HEARTBEAT) / 1e3:
                self._set(_PRIVILEGE, 0)
            if not self.read(_PRIVILEGE):
                self.controller = None
                self._set(ACQUISITION, 0)
            if self.read(ACQUISITION) and time.monotonic() >= next_picture:
                self._send_picture()
                next_picture = time.monotonic() + 0.05

    # GVCP

    def _answer(self, packet: bytes, sender: tuple[str, int]) -> None:
        command, _, number = struct.unpack_from(">HHH", packet, 2)
        content, status = packet[8:], 0
        if self.controller in (None, sender):
            self.controlled_at = time.monotonic()
        if command in (_WRITE_REGISTER, _WRITE_MEMORY) and self.controller not in (None, sender):
            status, answer = _DENIED, b""
        elif command == _DISCOVER:
            answer = bytes(self.memory[:_DISCOVERY_BYTES])
        elif command == _READ_REGISTER:
            address = int.from_bytes(content[:4], "big")
            self._refresh(address)
            answer = self.memory[address : address + 4]
        elif command == _READ_MEMORY:
            address, size = struct.unpack(">I2xH", content)
            self._refresh(address)
            answer = content[:4] + self.memory[address : address + size]
        elif command in (_WRITE_REGISTER, _WRITE_MEMORY):
            address = int.from_bytes(content[:4], "big")
            self.memory[address : address + len(content) - 4] = content[4:]
            if address == _PRIVILEGE:
                self.controller = sender
            answer = bytes((0, 0, 0, 1))
        else:
            return
        self.socket.sendto(struct.pack(">HHHH", status, command + 1, len(answer), number) + answer, sender)

    def _refresh(self, address: int) -> None:
        if address == PAYLOAD_SIZE:
            self._set(PAYLOAD_SIZE, len(self._make_payload(0, 0, "")))

    # GVSP

    def _send_picture(self) -> None:
        number = len(self.exposed)
        fault, delay = self.faults.get(number, ""), DELAYS[number % 2]
        exposed = time.monotonic() - delay
        self.exposed.append(exposed)
        payload = self._make_payload(number, self._count_ticks(exposed), fault)
        kind = self.payload_type if self._sends_chunks and fault != "no chunk data" else IMAGE
        infos = b"" if kind == CHUNK_DATA else struct.pack(">IIIIIHH", _MONO8, SIDE, SIDE, 0, 0, 0, 0)
        self._send(_LEADER, 0, struct.pack(">HHQ", 0, kind, self._count_ticks(exposed + delay)) + infos)
        size = (self.read(_PACKET_SIZE) & 0xFFFF) - _HEADERS
        parts = [payload[start : start + size] for start in range(0, len(payload), size)]
        for place, part in enumerate(parts, 1):
            self._send(_PAYLOAD, place, part)
        self._send(_TRAILER, len(parts) + 1, struct.pack(">HHI", 0, kind, SIDE))

    def _send(self, kind: int, place: int, content: bytes) -> None:
        picture = (len(self.exposed) - 1) % 65535 + 1  # 0 is none
        target = socket.inet_ntoa(self.memory[_STREAM_ADDRESS : _STREAM_ADDRESS + 4]), self.read(_STREAM_PORT)
        self.stream.sendto(struct.pack(">HHI", 0, picture, kind << 24 | place) + content, target)

    def _make_payload(self, number: int, ticks: int, fault: Fault) -> bytes:
        """The picture, with chunks behind it; each has its number and length at its end."""
        image = number.to_bytes(4, "big") + bytes(SIDE * SIDE - 4)
        if not self._sends_chunks or fault == "no chunk data":
            return image
        if fault == "old":
            ticks = self._count_ticks(self.exposed[0])
        elif fault == "far":
            ticks += 3600 * self.tick_frequency
        stamp = struct.pack(">Q", ticks)[4 if fault == "short" else 0 :]
        kind = _OTHER_CHUNK if fault == "no time" else TIMESTAMP_CHUNK
        chunks = _make_chunk(_IMAGE_CHUNK, image) + _make_chunk(kind, stamp)
        return chunks[:-8] + b"\xff" * 8 if fault == "broken" else chunks

    @property
    def _sends_chunks(self) -> bool:
        return bool(self.read(CHUNK_MODE) and self.read(CHUNK_ENABLE))

    def _count_ticks(self, at: float) -> int:
        return int((at - self.started_at) * self.tick_frequency)

    # Registers

    def read(self, address: int) -> int:
        """The value of a register."""
        return int.from_bytes(self.memory[address : address + 4], "big")

    def _set(self, address: int, value: int) -> None:
        self.memory[address : address + 4] = value.to_bytes(4, "big")

    def _put_text(self, address: int, size: int, text: str) -> None:
        self.memory[address : address + size] = text.encode().ljust(size, b"\0")


def _make_chunk(number: int, content: bytes) -> bytes:
    return content + struct.pack(">II", number, len(content))
