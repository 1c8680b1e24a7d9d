"""Ways to and from a line controller; the scheme of `trigger.source` selects one."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from ...camera.frame import Frame
from ...config.configuration import Config
from ...config.trigger_table import PRESENCE
from ...plugin_tables import load_plugin, split_url
from ..handshake import Outputs

ADAPTERS = {
    "file": ".file:TriggerFile",
    "gpio": ".gpio:make_gpio_adapter",
    "modbus": ".modbus:make_modbus_adapter",
    "mqtt": ".mqtt:MqttTrigger",
    "opcua": ".opcua:make_opcua_adapter",
    PRESENCE: ".presence:PresenceTrigger",
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

    @property
    def fault(self) -> str:
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


@runtime_checkable
class FrameWatcher(Protocol):
    """An adapter that finds its triggers in the frames of the camera."""

    def see_frame(self, frame: Frame, exposed: float) -> None:
        """Looks at each frame before anything else does; `exposed`: moment of its exposure, `time.monotonic`."""


def load_adapter(settings: Config) -> LineAdapter:
    """The adapter of a camera with `[trigger]`.

    Raises:
        ConfigProblem: a scheme is unknown, or the rest of a URL is wrong.
    """
    trigger = settings.trigger
    assert trigger is not None
    source = _load(settings)
    if not trigger.outputs:
        return source
    from .paired import PairedAdapter, locate_outputs

    with locate_outputs():
        replaced = msgspec.structs.replace(trigger, source=trigger.outputs, presence=None)
        return PairedAdapter(source, _load(msgspec.structs.replace(settings, trigger=replaced)))


def _load(settings: Config) -> LineAdapter:
    assert settings.trigger is not None
    source = settings.trigger.source
    scheme = split_url(source, "trigger.source").scheme or source
    adapter: LineAdapter = load_plugin(__package__, ADAPTERS, scheme, "trigger.source")(settings)
    return adapter
