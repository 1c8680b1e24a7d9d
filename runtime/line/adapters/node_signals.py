"""From the values of OPC UA nodes to signals of the line, and from outputs to values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...config.product_table import NO_PRODUCT
from ..handshake import Outputs
from ..handshake_state import SERIAL_CHARACTERS, SIGNALS
from . import LineInputs
from .register_map import find_code

ORDER = ("product", "serial", "acknowledge", "counter", "trigger")
"""Of inputs that come together: the product and the serial number count for the trigger that comes with them."""
MOST_MISSED = 100
"""A counter that is ahead by more was set anew, and counts as one trigger."""


class NodeSignals:
    """Turns values that the line sets into signals. The first value of a node is from before, and no trigger.

    Args:
        known: values that are set already
    """

    def __init__(self, inputs: LineInputs, known: Mapping[str, Any]) -> None:
        self.inputs, self.values = inputs, dict(known)
        self.last_part = 0

    def see(self, changes: Mapping[str, Any], at: float | None = None) -> None:
        """New values by the name of their signal; None: the line does not know it any more."""
        for name in sorted(changes, key=ORDER.index):
            before, value = self.values.get(name), changes[name]
            self.values[name] = value
            if name == "product":  # also the index that was there: the line has said it again
                self.inputs.select_product(value if isinstance(value, int) else NO_PRODUCT)
            elif name == "acknowledge" and value is not None and value != before:
                self.inputs.acknowledge(bool(value))
            elif name in ("trigger", "counter") and value is not None and before is not None:
                self._see_trigger(before, value, at)

    def _see_trigger(self, before: Any, value: Any, at: float | None) -> None:
        if isinstance(value, bool):
            if value and not before:
                self._trigger(at)
        elif value != before:
            ahead = int(value) - int(before)
            for _ in range(ahead - 1 if ahead <= MOST_MISSED else 0):
                self.inputs.miss(at)
            self._trigger(at)

    def _trigger(self, at: float | None) -> None:
        self.last_part = self.inputs.trigger(str(self.values.get("serial") or "").strip()[:SERIAL_CHARACTERS], at)


def list_values(outputs: Outputs) -> dict[str, bool | int]:
    """The outputs by name. `results ready` is last when it is on, and first when it is off: so it never lies."""
    values: dict[str, bool | int] = {signal: getattr(outputs, signal) for signal in SIGNALS}
    ready = {"results_ready": values.pop("results_ready")}
    values |= {"part": outputs.part, "verdict": find_code(outputs), "shown_product": outputs.product}
    return values | ready if outputs.results_ready else ready | values
