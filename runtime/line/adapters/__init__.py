"""Ways to and from a line controller; the scheme of `trigger.source` selects one."""

from __future__ import annotations

from typing import Protocol

from ...config.configuration import Config
from ...plugin_tables import load_plugin, split_url
from ..handshake import Outputs

ADAPTERS = {
    "file": ".file:TriggerFile",
    "gpio": ".gpio:GpioAdapter",
    "modbus": ".modbus:make_modbus_adapter",
    "mqtt": ".mqtt:MqttTrigger",
    "opcua": ".opcua:make_opcua_adapter",
}


class LineInputs(Protocol):
    """What the line says. Any thread may call these."""

    def trigger(self, serial: str = "", at: float | None = None) -> int:
        """A part arrives, `at` a moment of `time.monotonic`, with its serial number if known; returns its number."""

    def miss(self, at: float | None = None) -> int:
        """A part that came `at` a moment of `time.monotonic` and cannot be inspected: an error; returns its number."""

    def acknowledge(self, level: bool) -> None:
        """The level of the line's acknowledgment."""

    def select_product(self, index: int) -> None:
        """The product of the parts from the next trigger on."""

    def end(self) -> None:
        """No trigger will follow."""


class LineAdapter(Protocol):
    """A connection to a line controller."""

    fault: str
    """Why nothing can come, in words; empty while it can."""

    def start(self, inputs: LineInputs) -> None:
        """Begins to listen.

        Raises:
            MachineProblem: it cannot.
        """

    def show(self, outputs: Outputs) -> None:
        """Sets the outputs; returns at once, whatever the other side does. Calls come one after the other."""

    def close(self) -> None:
        """Ends; the outputs that were shown last should still reach the line."""


def load_adapter(settings: Config) -> LineAdapter:
    """The adapter of a camera with `[trigger]`.

    Raises:
        ConfigProblem: the scheme is unknown, or the rest of the URL is wrong.
    """
    assert settings.trigger is not None
    scheme = split_url(settings.trigger.source, "trigger.source").scheme
    adapter: LineAdapter = load_plugin(__package__, ADAPTERS, scheme, "trigger.source")(settings)
    return adapter
