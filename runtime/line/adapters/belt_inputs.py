"""The line as it is in front of the camera, of signals that come at a sensor before it, by the position of the belt.

The position is a counter that the line controller keeps, such as that of an incremental encoder: it may go back, and
it starts anew at its end. A part is passed on when the belt has moved by the distance from the sensor to the camera.
Its serial number, and a product that is selected between two parts, stay in order with it.
"""

from __future__ import annotations

import logging
import time
from collections import deque

import msgspec

from . import LineInputs
from .encoder_distance import EncoderDistance

log = logging.getLogger(__name__)


class _PartOnBelt(msgspec.Struct, frozen=True):
    serial: str
    product: int | None
    """Selected before this part came; None: none since the part before."""
    missed: bool = False


class BeltInputs:
    """Inputs of a line that pass parts on later. Not thread-safe.

    Args:
        inputs: those of the line
        distance: counts from the sensor to the camera
        bits: of the counter
    """

    def __init__(self, inputs: LineInputs, distance: int, bits: int) -> None:
        self.inputs, self.range = inputs, 1 << bits
        self.distance = EncoderDistance(distance)
        self.parts: deque[_PartOnBelt] = deque()
        """Those between the sensor and the camera."""
        self.product: int | None = None
        """Selected since the last part; None: none."""
        self.position: int | None = None

    def move_to(self, position: int) -> None:
        """The belt's counter now; the first one only tells where it is."""
        before, self.position = self.position, position
        if before is None:
            return
        counts = (position - before) % self.range
        if counts >= self.range // 2:
            counts -= self.range  # backwards
        for _ in self.distance.count(time.monotonic(), counts):
            self._pass_on()

    def trigger(self, serial: str = "", at: float | None = None) -> int:
        """A part is at the sensor; its number is not known yet: 0."""
        self._add(_PartOnBelt(serial, self.product), at)
        return 0

    def miss(self, at: float | None = None) -> int:
        """A part that cannot be inspected; it stays in order."""
        self._add(_PartOnBelt("", self.product, missed=True), at)
        return 0

    def acknowledge(self, level: bool) -> None:
        self.inputs.acknowledge(level)

    def select_product(self, index: int) -> None:
        """Holds from the next part at the sensor on."""
        if self.parts:
            self.product = index
        else:
            self.inputs.select_product(index)

    def end(self) -> None:
        self.inputs.end()

    def give_up(self) -> None:
        """Nobody knows any more where the belt is: the parts on it are errors."""
        self.position = None
        for at in self.distance.clear():
            self.parts.popleft()
            self.inputs.miss(at)
        self._select()

    def _add(self, part: _PartOnBelt, at: float | None) -> None:
        self.product = None
        self.parts.append(part)
        overdue = self.distance.add(time.monotonic() if at is None else at)
        if overdue is not None:
            log.error("the encoder does not count: %d parts are between sensor and camera", len(self.parts))
            self.parts.popleft()
            self.inputs.miss(overdue)

    def _pass_on(self) -> None:
        part = self.parts.popleft()
        if part.product is not None:
            self.inputs.select_product(part.product)
        if part.missed:
            self.inputs.miss()
        else:
            self.inputs.trigger(part.serial)
        if not self.parts:
            self._select()

    def _select(self) -> None:
        if self.product is not None:
            self.inputs.select_product(self.product)
            self.product = None
