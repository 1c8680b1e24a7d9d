"""The options of `modbus:` addresses; apart, so that reading a configuration needs no pymodbus."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

_Address = Annotated[int, msgspec.Meta(ge=0, le=65000)]


class ModbusOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options after `?`."""

    role: Literal["server", "client"] = "server"
    unit: Annotated[int, msgspec.Meta(ge=0, le=247)] = 1
    poll: Annotated[float, msgspec.Meta(ge=0.001, le=1)] = 0.005
    """Client: seconds between two reads."""
    inputs: _Address = 0
    """Client: address of the first coil and of the first holding register to read."""
    outputs: _Address = 16
    """Client: address of the first coil and of the first holding register to write."""
    encoder: _Address | None = None
    """Client: address of the holding register with the belt's counter; None: there is none."""
    encoder_words: Literal[1, 2] = 1
    """Registers of the counter, the high one first."""
    distance: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    """Counts of the belt from the sensor to the camera."""

    def __post_init__(self) -> None:
        if (self.encoder is None) != (self.distance == 0):
            raise ValueError("encoder and distance need each other")
        if self.encoder is not None and self.role == "server":
            raise ValueError("encoder needs role=client: the device reads the counter of the line controller")
        if self.distance >= 1 << (16 * self.encoder_words - 1):
            raise ValueError("distance is more than half the range of the counter: use encoder_words=2")
