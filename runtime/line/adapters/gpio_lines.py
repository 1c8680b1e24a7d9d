"""The lines of a GPIO chip, by libgpiod: inputs with edges that the kernel stamps, and outputs.

The kernel gives an edge the time at which it came (CLOCK_MONOTONIC, that of `time.monotonic`) and a number of its line,
so an edge that is read late has its true time, and one that was lost in a full buffer is noticed.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path

import gpiod
import msgspec
from gpiod.line import Bias, Direction, Edge, Value

from .gpio_options import INPUTS, OUTPUTS, GpioOptions

_BIASES = {
    "as-is": Bias.AS_IS,
    "pull-up": Bias.PULL_UP,
    "pull-down": Bias.PULL_DOWN,
    "disabled": Bias.DISABLED,
}
_BUFFER = 1024  # edges that the kernel keeps, its limit
_CONSUMER = "vedette"
_Configuration = dict[Iterable[int | str] | int | str, gpiod.LineSettings | None]


class LineEdge(msgspec.Struct, frozen=True):
    """One edge of an input."""

    signal: str
    rising: bool
    at: float
    """Seconds of `time.monotonic`."""
    lost: int
    """Edges of this line that the kernel had no room for before this one."""


class GpioLines:
    """The requested lines of one chip. Not thread-safe.

    Args:
        chip: path of its device file, or its label, such as pinctrl-rp1
        options: lines of the signals
        levels: of the outputs from the start on

    Raises:
        OSError: there is no such chip or line, or another program uses it.
    """

    def __init__(self, chip: str, options: GpioOptions, levels: Mapping[str, bool]) -> None:
        with _open_chip(chip) as opened:
            self.signals: dict[int, str] = {}
            for signal in INPUTS:
                if line := options.address_of(signal):
                    self.signals[_find_offset(opened, line)] = signal
            self.product = [_find_offset(opened, line) for line in options.product_lines]
            self.outputs = {s: _find_offset(opened, line) for s in OUTPUTS if (line := options.address_of(s))}
            wanted: _Configuration = {}
            for offset, signal in [*self.signals.items(), *((offset, "product") for offset in self.product)]:
                wanted[offset] = _make_input(signal, options)
            self.inputs = self.written = None
            if wanted:
                self.inputs = opened.request_lines(wanted, consumer=_CONSUMER, event_buffer_size=_BUFFER)
            if self.outputs:
                try:
                    driven: _Configuration = {o: _make_output(s, options, levels[s]) for s, o in self.outputs.items()}
                    self.written = opened.request_lines(driven, consumer=_CONSUMER)
                except OSError:
                    self.close()
                    raise
        self.seen: dict[int, int] = {}

    def fileno(self) -> int | None:
        """Readable while edges wait; None: there are no inputs."""
        return None if self.inputs is None else int(self.inputs.fd)

    def read_edges(self) -> list[LineEdge]:
        """The edges that wait; at least one if `fileno` is readable.

        Raises:
            OSError: the chip is gone.
        """
        edges: list[LineEdge] = []
        if self.inputs is None:
            return edges
        for event in self.inputs.read_edge_events():
            lost = event.line_seqno - self.seen.get(event.line_offset, 0) - 1
            self.seen[event.line_offset] = event.line_seqno
            rising = event.event_type is event.Type.RISING_EDGE
            edges.append(LineEdge(self.signals[event.line_offset], rising, event.timestamp_ns / 1e9, max(0, lost)))
        return edges

    def read_level(self, signal: str) -> bool:
        """The level of an input now; False if it has no line."""
        for offset, name in self.signals.items():
            if name == signal and self.inputs is not None:
                return self.inputs.get_value(offset) is Value.ACTIVE
        return False

    def read_product(self) -> int:
        """The product index; 0 if it has no lines."""
        if not self.product or self.inputs is None:
            return 0
        levels = self.inputs.get_values(self.product)
        return sum(1 << place for place, level in enumerate(levels) if level is Value.ACTIVE)

    def write(self, levels: Mapping[str, bool]) -> None:
        """Sets outputs; those without a line are left out.

        Raises:
            OSError: the chip is gone.
        """
        values: dict[int | str, Value] = {
            self.outputs[signal]: Value.ACTIVE if on else Value.INACTIVE
            for signal, on in levels.items()
            if signal in self.outputs
        }
        if values and self.written is not None:
            self.written.set_values(values)

    def close(self) -> None:
        """Gives the lines back; what they then show is the chip's."""
        for request in (self.inputs, self.written):
            if request is not None:
                request.release()


def _open_chip(name: str) -> gpiod.Chip:
    if name.startswith("/"):
        return gpiod.Chip(name)
    for path in sorted(Path("/dev").glob("gpiochip*")):
        chip = gpiod.Chip(str(path))
        if chip.get_info().label == name:
            return chip
        chip.close()
    raise OSError(errno.ENODEV, f"no chip has the label {name}")


def _find_offset(chip: gpiod.Chip, line: str) -> int:
    try:
        return int(line) if line.isdecimal() else int(chip.line_offset_from_id(line))
    except OSError as error:
        raise OSError(error.errno, f"the chip has no line {line}") from None


def _make_input(signal: str, options: GpioOptions) -> gpiod.LineSettings:
    edges = {"trigger": Edge.RISING, "encoder": Edge.RISING, "acknowledge": Edge.BOTH}
    debounce = options.debounce if signal in ("trigger", "acknowledge") else 0.0
    return gpiod.LineSettings(
        direction=Direction.INPUT,
        edge_detection=edges.get(signal, Edge.NONE),
        bias=_BIASES[options.bias],
        active_low=signal in options.inverted,
        debounce_period=timedelta(seconds=debounce),
    )


def _make_output(signal: str, options: GpioOptions, level: bool) -> gpiod.LineSettings:
    return gpiod.LineSettings(
        direction=Direction.OUTPUT,
        active_low=signal in options.inverted,
        output_value=Value.ACTIVE if level else Value.INACTIVE,
    )
