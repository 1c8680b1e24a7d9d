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
