"""The table `[trigger]` of a camera's file: one inspection per part (docs/line.md)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .polygon import Polygon, describe_polygon_error

Score = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
_Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


PRESENCE = "presence"
"""The source of a trigger by software."""


class PresenceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[trigger.presence]`: a part is there when enough of a zone differs from the empty scene. Times in seconds."""

    polygon: Polygon
    """The zone; a narrow one, across the way of the parts, triggers where they reach it."""
    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.3
    """Part of the zone that must differ; below half of it the zone is empty again."""
    level: Annotated[float, msgspec.Meta(ge=1, le=255)] = 20.0
    """Gray levels by which a place must differ."""
    gap: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.3
    """Shortest time between two parts; what comes sooner is the same part."""
    learn: Annotated[float, msgspec.Meta(ge=0, le=600)] = 1.0
    """At the start, for the picture of the empty scene; no part is noticed meanwhile."""

    def __post_init__(self) -> None:
        if fault := describe_polygon_error(self.polygon):
            raise ValueError(f"polygon: {fault}")


class CodeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[trigger.code]`: the serial number of a part is a code in its picture."""

    area: tuple[_Fraction, _Fraction, _Fraction, _Fraction] = (0.0, 0.0, 1.0, 1.0)
    """Left, top, right and lower edge of where the code is, as fractions of the picture."""
    formats: tuple[str, ...] = ()
    """Names as zxing-cpp has them, such as DataMatrix, QRCode, Code128, EAN13; empty: all."""
    missing: Literal["empty", "error"] = "empty"
    """What a part without a code is: one without a serial number, or an error."""

    def __post_init__(self) -> None:
        left, top, right, bottom = self.area
        if left >= right or top >= bottom:
            raise ValueError("area: give left, top, right and lower edge, in this order")


class TriggerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[trigger]`: what starts an inspection, and how its verdict goes out. Times in seconds."""

    source: str
    """`modbus://host:port`, `opcua://host:port`, `gpio:CHIP?trigger=17`, `mqtt:`, `file:triggers.txt`, `presence`."""
    outputs: str = ""
    """An address as in `source`, to which the verdicts go instead; empty: to `source`."""
    presence: PresenceSettings | None = None
    code: CodeSettings | None = None
    delay: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.0
    """From the trigger to the first picture: the way from the sensor to the camera."""
    deadline: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    """From the trigger to the verdict; a part without one is then an error."""
    pictures: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    """Pictures of each part."""
    decision: Literal["worst", "vote"] = "worst"
    """Which verdict counts if there are several pictures."""
    threshold: Score | None = None
    """A part is rejected at this score; None: the bundle's threshold."""
    warn: Score | None = None
    """A part gets the verdict `warn` from this score on; None: never."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    """Parts without a verdict at which the device is no longer ready."""
    gate: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    """Parts between the camera and the reject gate; 0: a verdict goes out at once."""
    acknowledge: bool = False
    """True: a result stays until the line acknowledges it."""
    hold: Annotated[float, msgspec.Meta(gt=0, le=60)] | None = None
    """Longest time that a result is shown; None: 0.05, or 1.0 with `acknowledge`."""
    heartbeat: Annotated[float, msgspec.Meta(ge=0.05, le=60)] = 0.5
    """Seconds between changes of the heartbeat."""
    product: str = ""
    """Name of the product in the events; empty: that of the bundle."""
    product_index: Annotated[int, msgspec.Meta(ge=0, lt=65535)] | None = None
    """Its number for the line; a part of another product is an error. None: 0; with `[[products]]` none is selected
    until the line selects one."""
    memory: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None
    """Most memory of the daemon with all products loaded, 10**6 bytes; None: that of the machine, less 150 for the
    system."""

    def __post_init__(self) -> None:
        if (self.source == PRESENCE) != (self.presence is not None):
            raise ValueError('source = "presence" and the table [trigger.presence] with its polygon need each other')
        if self.delay >= self.deadline:
            raise ValueError(f"delay: {self.delay:g} is not below the deadline of {self.deadline:g}; no picture fits")
        if self.warn is not None and self.threshold is not None and self.warn >= self.threshold:
            raise ValueError(f"warn: {self.warn:g} must be below threshold, {self.threshold:g}; nothing would warn")

    @property
    def hold_seconds(self) -> float:
        """Longest time that a result is shown."""
        return self.hold or (1.0 if self.acknowledge else 0.05)
