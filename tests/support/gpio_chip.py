"""A GPIO chip in place of the kernel's, at the boundary of libgpiod: what `gpiod.Chip` gives is replaced.

It follows the kernel's rules that matter here: exclusive use of a line, active-low, edges with the monotonic time and a
number of their line, a buffer that loses the oldest edges, and ENODEV from everything once the chip is pulled out. It
proves nothing about a real chip, its electrical levels or its speed; gpio-sim (Linux 5.17) would be nearer.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from types import SimpleNamespace
from typing import Any

import gpiod
from gpiod.line import Direction, Edge, Value

NAMES = {f"GPIO{number}": number for number in range(32)}


class SimulatedChip:
    """The state of a chip: levels in volts' sense, requests, and whether it is there."""

    def __init__(self, label: str = "simulated") -> None:
        self.label, self.present = label, True
        self.levels = dict.fromkeys(NAMES.values(), False)
        self.requests: list[Request] = []
        self.writes: list[dict[int, bool]] = []
        """What was written to outputs, as levels of the lines, in order."""

    def open(self, path: str) -> Handle:
        """In place of `gpiod.Chip`."""
        if not self.present:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return Handle(self)

    def set(self, line: int, high: bool) -> None:
        """Sets the level of an input from outside."""
        before, self.levels[line] = self.levels[line], high
        if before != high:
            for request in self.requests:
                request.notice(line, high)

    def pulse(self, line: int, times: int = 1) -> None:
        for _ in range(times):
            self.set(line, True)
            self.set(line, False)

    def pull_out(self) -> None:
        self.present = False
        for request in self.requests:
            os.eventfd_write(request.fd, 1)  # the kernel wakes those who wait

    def plug_in(self) -> None:
        self.present = True

    def check(self) -> None:
        if not self.present:
            raise OSError(errno.ENODEV, "No such device")


class Handle:
    """An open chip."""

    def __init__(self, chip: SimulatedChip) -> None:
        self.chip = chip

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        pass

    def get_info(self) -> SimpleNamespace:
        return SimpleNamespace(label=self.chip.label)

    def line_offset_from_id(self, name: str) -> int:
        if name not in NAMES:
            raise OSError(errno.ENOENT, "No such file or directory")
        return NAMES[name]

    def request_lines(self, config: dict[int, gpiod.LineSettings], **options: Any) -> Request:
        assert options["consumer"] == "vedette"
        for offset in config:
            if offset not in self.chip.levels:
                raise ValueError("line offset out of range")
            if any(offset in request.config for request in self.chip.requests):
                raise OSError(errno.EBUSY, "Device or resource busy")
        return Request(self.chip, config, options.get("event_buffer_size", 16))


class Request:
    """Requested lines."""

    def __init__(self, chip: SimulatedChip, config: dict[int, gpiod.LineSettings], size: int) -> None:
        self.chip, self.config = chip, config
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.events: deque[gpiod.EdgeEvent] = deque(maxlen=size)
        self.numbers: dict[int, int] = {}
        chip.requests.append(self)
        for offset, settings in config.items():
            if settings.direction is Direction.OUTPUT:
                chip.levels[offset] = (settings.output_value is Value.ACTIVE) != settings.active_low

    def notice(self, offset: int, high: bool) -> None:
        settings = self.config.get(offset)
        if settings is None:
            return
        rising = high != settings.active_low
        wanted = {Edge.BOTH, Edge.RISING if rising else Edge.FALLING}
        if settings.edge_detection in wanted:
            number = self.numbers[offset] = self.numbers.get(offset, 0) + 1
            kind = gpiod.EdgeEvent.Type.RISING_EDGE if rising else gpiod.EdgeEvent.Type.FALLING_EDGE
            self.events.append(gpiod.EdgeEvent(kind.value, time.monotonic_ns(), offset, number, number))
            os.eventfd_write(self.fd, 1)

    def read_edge_events(self) -> list[gpiod.EdgeEvent]:
        self.chip.check()
        os.eventfd_read(self.fd)
        events = []
        while self.events:
            events.append(self.events.popleft())
        return events

    def get_value(self, offset: int) -> Value:
        self.chip.check()
        return Value.ACTIVE if self.chip.levels[offset] != self.config[offset].active_low else Value.INACTIVE

    def get_values(self, offsets: list[int]) -> list[Value]:
        return [self.get_value(offset) for offset in offsets]

    def set_values(self, values: dict[int, Value]) -> None:
        self.chip.check()
        written = {o: (value is Value.ACTIVE) != self.config[o].active_low for o, value in values.items()}
        self.chip.levels |= written
        self.chip.writes.append(written)

    def release(self) -> None:
        self.chip.requests.remove(self)
        os.close(self.fd)
