"""The Modbus register map of a line; docs/line.md has it as a table. Addresses count from 0.

    coils               0 trigger, 1 acknowledge
    holding registers   0 product index, 1 trigger counter, 2 to 9 serial number
    discrete inputs     0 trigger ready, 1 busy, 2 results ready, 3 OK, 4 NG, 5 warn, 6 error, 7 heartbeat
    input registers     0 and 1 part, 2 verdict, 3 product, 4 and 5 last triggered part, 6 and on the last 16 results

A part is triggered by the rising edge of its coil, or by any change of the counter, which no slow poll can miss.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..handshake import Outputs
from ..handshake_state import SIGNALS
from . import LineInputs

COILS, HOLDING = 2, 10
TRIGGER, ACKNOWLEDGE = 0, 1
PRODUCT, COUNTER, SERIAL = 0, 1, 2
RESULTS, RESULT_REGISTERS, RESULT_COUNT = 6, 3, 16
INPUTS = RESULTS + RESULT_REGISTERS * RESULT_COUNT
NONE, ACCEPT, WARN, REJECT, ERROR = range(5)  # codes of verdicts


class InputEdges:
    """Turns coils and holding registers that the line sets into signals.

    Args:
        settled: False: the first values that are read are those from before, and no signals
    """

    def __init__(self, inputs: LineInputs, settled: bool) -> None:
        self.inputs, self.settled = inputs, settled
        self.coils, self.holding = [False] * COILS, [0] * HOLDING
        self.last_part = 0

    def see_registers(self, holding: Sequence[int], selects: bool = False) -> None:
        """The holding registers now; serial number and product count for the trigger that comes with them or later.

        Args:
            holding: all of them
            selects: True: the line has just written the product, if only the number that was there
        """
        before, self.holding = self.holding, list(holding)
        if before[PRODUCT] != holding[PRODUCT] or selects or not self.settled:
            self.inputs.select_product(holding[PRODUCT])
        if before[COUNTER] != holding[COUNTER] and self.settled:
            self._trigger()

    def see_coils(self, coils: Sequence[bool]) -> None:
        """The coils now."""
        before, self.coils = self.coils, [bool(each) for each in coils]
        if before[ACKNOWLEDGE] != self.coils[ACKNOWLEDGE]:
            self.inputs.acknowledge(self.coils[ACKNOWLEDGE])
        if self.coils[TRIGGER] and not before[TRIGGER] and self.settled:
            self._trigger()

    def _trigger(self) -> None:
        self.last_part = self.inputs.trigger(decode_serial(self.holding[SERIAL:]))


class OutputRegisters:
    """Outputs as discrete inputs and input registers, with the last results."""

    def __init__(self) -> None:
        self.bits = [False] * len(SIGNALS)
        self.words = [0] * INPUTS

    def set_outputs(self, outputs: Outputs) -> None:
        """Sets all that follows from the outputs."""
        code = find_code(outputs)
        if outputs.part and join_words(self.words[:2]) != outputs.part:
            place = RESULTS + RESULT_REGISTERS * (outputs.part % RESULT_COUNT)
            self.words[place : place + RESULT_REGISTERS] = [*split_words(outputs.part), code]
        self.words[:4] = [*split_words(outputs.part), code, outputs.product]
        self.bits = [getattr(outputs, signal) for signal in SIGNALS]

    def set_last_part(self, number: int) -> None:
        """Sets the number of the part that was triggered last."""
        self.words[4:6] = split_words(number)


def find_code(outputs: Outputs) -> int:
    """The code of the verdict that is shown."""
    shown = (outputs.ok, outputs.warn, outputs.ng, outputs.error)
    return shown.index(True) + 1 if any(shown) else NONE


def split_words(number: int) -> list[int]:
    """A number as two registers, the high one first; it starts again at 0 after 2**32."""
    return [number >> 16 & 0xFFFF, number & 0xFFFF]


def join_words(words: Sequence[int]) -> int:
    """The number of two registers."""
    return words[0] << 16 | words[1]


def decode_serial(words: Sequence[int]) -> str:
    """Text of two characters in each register, the first in the high byte; it ends at the first zero."""
    text = b"".join(word.to_bytes(2, "big") for word in words).split(b"\0")[0]
    return text.decode("ascii", "replace").strip()
