"""A simulated line controller: it triggers parts over Modbus TCP, reads each result and acknowledges it.

It is one loop, as a PLC's program: trigger if a part is due, read the result, set or clear the acknowledgment. What it
saw is compared with the events afterwards.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

VERDICTS = ("none", "accept", "warn", "reject", "error")
_PRODUCT, _COUNTER, _ACKNOWLEDGE, _SERIAL_REGISTERS = 0, 1, 1, 8
_CONNECT_SECONDS = 60.0


class SeenResult(msgspec.Struct, frozen=True):
    """A result as the controller read it."""

    part: int
    verdict: str
    seconds: float
    """Moment of the reading, `time.monotonic`."""


class LineController:
    """Triggers parts at given moments.

    Args:
        port: of the device's Modbus server on this machine
        moments: seconds after the start at which parts arrive, in order
        products: product index of each part; None: it selects none
        on_part: called with the number of parts so far, after each trigger
        pause: seconds between two readings
    """

    def __init__(
        self,
        port: int,
        moments: Sequence[float],
        products: Sequence[int] | None = None,
        on_part: Callable[[int], None] = lambda _: None,
        pause: float = 0.002,
    ) -> None:
        self.port, self.moments, self.products, self.on_part, self.pause = port, moments, products, on_part, pause
        self.triggered: list[float] = []
        """Moment of each trigger, by `time.monotonic`."""
        self.results: list[SeenResult] = []
        self.failure = ""
        self.stopping = threading.Event()

    def run(self, patience: float) -> None:
        """Triggers all parts, and reads results until there is one for each, or for `patience` seconds longer."""
        from pymodbus.client import ModbusTcpClient

        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # it tells each try to connect
        client = ModbusTcpClient("127.0.0.1", port=self.port, timeout=10)
        until = time.monotonic() + _CONNECT_SECONDS
        while not client.connect():
            if time.monotonic() > until or self.stopping.is_set():
                self.failure = "the device does not listen"
                return
            time.sleep(0.05)
        started, acknowledged, last = time.monotonic(), False, 0
        try:
            while not self.stopping.is_set() and len(self.results) < len(self.moments):
                count, now = len(self.triggered), time.monotonic()
                if count < len(self.moments) and now >= started + self.moments[count]:
                    values = [(count + 1) & 0xFFFF, *encode_serial(f"P{count + 1:06d}")]
                    self.triggered.append(time.monotonic())
                    if self.products is None:
                        client.write_registers(_COUNTER, values)
                    else:
                        client.write_registers(_PRODUCT, [self.products[count], *values])
                    self.on_part(count + 1)
                elif count == len(self.moments) and now > self.triggered[-1] + patience:
                    return
                high, low, code = client.read_input_registers(0, count=3).registers
                part = high << 16 | low
                if code and part != last:
                    last = part
                    self.results.append(SeenResult(part, VERDICTS[code], time.monotonic()))
                if bool(code) != acknowledged:
                    acknowledged = bool(code)
                    client.write_coil(_ACKNOWLEDGE, acknowledged)
                time.sleep(self.pause)
        finally:
            client.close()


def encode_serial(text: str) -> list[int]:
    """A serial number as registers, two characters in each."""
    raw = text.encode("ascii").ljust(2 * _SERIAL_REGISTERS, b"\0")
    return [int.from_bytes(raw[place : place + 2], "big") for place in range(0, 2 * _SERIAL_REGISTERS, 2)]
