"""The options of `gpio:` addresses; apart, so that reading a configuration needs no gpiod."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from ..handshake_state import SIGNALS
from .signal_addresses import SignalAddresses

_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1)]
INPUTS = ("trigger", "acknowledge", "encoder")
OUTPUTS = (*SIGNALS, "strobe")


class GpioOptions(SignalAddresses, frozen=True, forbid_unknown_fields=True):
    """Options after `?`. A line is a name, such as GPIO17, or an offset on the chip."""

    trigger: str = ""
    acknowledge: str = ""
    product: str = ""
    """Lines of the bits of the product index, the lowest first, with commas between them; read at each trigger."""
    encoder: str = ""
    distance: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    """Rising edges of the encoder from the sensor to the camera."""
    strobe: str = ""
    """On for `strobe_seconds`, from `delay` after the trigger on: a light, or the trigger input of a camera."""
    strobe_seconds: Annotated[float, msgspec.Meta(ge=0.0001, le=1)] = 0.005
    debounce: _Seconds = 0.0
    """Seconds for which trigger and acknowledge must keep a level; the edge then has the time at which they end."""
    active_low: str = ""
    """Names of signals, with commas between them, that are on at 0 V."""
    bias: Literal["as-is", "pull-up", "pull-down", "disabled"] = "as-is"
    """Of the inputs."""

    @property
    def product_lines(self) -> tuple[str, ...]:
        """The lines of the product index."""
        return tuple(filter(None, self.product.split(",")))

    @property
    def inverted(self) -> frozenset[str]:
        """Names of the signals that are on at 0 V."""
        return frozenset(filter(None, self.active_low.split(",")))

    def __post_init__(self) -> None:
        used = [line for signal in (*INPUTS, *OUTPUTS) if (line := self.address_of(signal))] + list(self.product_lines)
        if twice := sorted({line for line in used if used.count(line) > 1}):
            raise ValueError(f"line {twice[0]} is used twice")
        if unknown := sorted(self.inverted - {*INPUTS, *OUTPUTS, "product"}):
            raise ValueError(f"active_low: unknown signal {unknown[0]!r}")
        if bool(self.encoder) != bool(self.distance):
            raise ValueError("encoder and distance need each other")
