"""A GigE Vision camera in software, on the loopback interface, whose pictures carry chunk data.

aravis' own camera in software sends none. This one speaks the two protocols of GigE Vision: GVCP, which reads and writes
its registers, and GVSP, which carries its pictures. It describes itself as each GenICam camera does
(gige_camera_features.py). Numbers are those of GigE Vision 2.0: registers of the bootstrap, commands, types of packets.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Literal

from fake_genicam import ADDRESS, lock_control_port
from gige_camera_features import ACQUISITION, CHUNK_ENABLE, CHUNK_MODE, FEATURES_AT, PAYLOAD_SIZE, PIXEL_FORMAT, describe

SIDE = 64
"""Width and height of its pictures, which have 8 bits of gray."""
IMAGE, CHUNK_DATA, EXTENDED_CHUNK_DATA, IMAGE_WITH_CHUNKS = 0x0001, 0x0004, 0x0005, 0x4001
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
_IMAGE_CHUNK, TIMESTAMP_CHUNK, _OTHER_CHUNK = 0x1000, 0x1001, 0x1002
_MONO8 = 0x01080001

Fault = Literal["", "no chunk data", "no time", "short", "broken", "old", "far"]


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
        self.fault: Fault = ""
        """What is wrong with the chunk data of its next pictures."""
        self.exposed: list[float] = []
        """When each picture was exposed, `time.monotonic`."""
        self.delays: tuple[float, ...] = (0.2, 0.4)
        """By how many seconds the time in a picture's header is later than its exposure, in turn."""
        self.started_at = time.monotonic() - 1000.0
        self.memory = bytearray(_XML_AT)
        xml = describe(has_chunks).encode()
        self._put_text(0x0048, 32, "Vedette")
        self._put_text(0x0068, 32, "Chunks")
        self._put_text(0x00D8, 16, "7")
        self._put_text(_XML_URL, 512, f"Local:camera.xml;{_XML_AT:x};{len(xml):x}")
        self.memory += xml + bytes(-len(xml) % 4 + 512)
        registers = {0x0000: 0x00020000, 0x0600: 1, 0x0904: 1, _HEARTBEAT: 3000, _PACKET_SIZE: 1500}
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
            if time.monotonic() - self.controlled_at > self._get(_HEARTBEAT) / 1e3:
                self._set(_PRIVILEGE, 0)
            if not self._get(_PRIVILEGE):
                self.controller = None
                self._set(ACQUISITION, 0)
            if self._get(ACQUISITION) and time.monotonic() >= next_picture:
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
            self._set(PAYLOAD_SIZE, len(self._make_payload(0)))

    # GVSP

    def _send_picture(self) -> None:
        delay = self.delays[len(self.exposed) % len(self.delays)]
        exposed = time.monotonic() - delay
        self.exposed.append(exposed)
        payload = self._make_payload(self._count_ticks(exposed))
        has_chunks = self._sends_chunks and self.fault != "no chunk data"
        kind = self.payload_type if has_chunks else IMAGE
        infos = b"" if kind == CHUNK_DATA else struct.pack(">IIIIIHH", _MONO8, SIDE, SIDE, 0, 0, 0, 0)
        self._send(_LEADER, 0, struct.pack(">HHQ", 0, kind, self._count_ticks(exposed + delay)) + infos)
        size = (self._get(_PACKET_SIZE) & 0xFFFF) - _HEADERS
        parts = [payload[start : start + size] for start in range(0, len(payload), size)]
        for number, part in enumerate(parts, 1):
            self._send(_PAYLOAD, number, part)
        self._send(_TRAILER, len(parts) + 1, struct.pack(">HHI", 0, kind, SIDE))

    def _send(self, kind: int, number: int, content: bytes) -> None:
        picture = (len(self.exposed) - 1) % 65535 + 1  # 0 is none
        target = socket.inet_ntoa(self.memory[_STREAM_ADDRESS : _STREAM_ADDRESS + 4]), self._get(_STREAM_PORT)
        self.stream.sendto(struct.pack(">HHI", 0, picture, kind << 24 | number) + content, target)

    def _make_payload(self, ticks: int) -> bytes:
        """The picture, with chunks behind it; each has its number and length at its end."""
        image = bytes((len(self.exposed) % 256,)) * SIDE * SIDE
        if not self._sends_chunks or self.fault == "no chunk data":
            return image
        stamp = struct.pack(">Q", ticks)
        if self.fault == "old":
            stamp = struct.pack(">Q", self._count_ticks(self.exposed[-2]))
        elif self.fault == "far":
            stamp = struct.pack(">Q", ticks + 3600 * self.tick_frequency)
        elif self.fault == "short":
            stamp = stamp[4:]
        number = _OTHER_CHUNK if self.fault == "no time" else TIMESTAMP_CHUNK
        chunks = _make_chunk(_IMAGE_CHUNK, image) + _make_chunk(number, stamp)
        return chunks[:-8] + b"\xff" * 8 if self.fault == "broken" else chunks

    @property
    def _sends_chunks(self) -> bool:
        return bool(self._get(CHUNK_MODE) and self._get(CHUNK_ENABLE))

    def _count_ticks(self, at: float) -> int:
        return int((at - self.started_at) * self.tick_frequency)

    # Registers

    def _get(self, address: int) -> int:
        return int.from_bytes(self.memory[address : address + 4], "big")

    def _set(self, address: int, value: int) -> None:
        self.memory[address : address + 4] = value.to_bytes(4, "big")

    def _put_text(self, address: int, size: int, text: str) -> None:
        self.memory[address : address + size] = text.encode().ljust(size, b"\0")


def _make_chunk(number: int, content: bytes) -> bytes:
    return content + struct.pack(">II", number, len(content))
