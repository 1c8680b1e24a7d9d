"""The codes of parts as their serial numbers.

A part whose code is not the serial number that the line gave is an error: one of the two belongs to another part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ..config.trigger_table import CodeSettings
from .code_reader import CodeReader
from .handshake import PASSING
from .judgement import Judgement

_MOST_PARTS = 1000  # remembered; those in flight are fewer


class PartCodes:
    """Reads the codes of the parts of one camera.

    Args:
        settings: `[trigger.code]`
        name_part: gives a part its serial number; False if it has another one

    Raises:
        ConfigProblem: a format is unknown.
        MachineProblem: zxing-cpp is not installed.
    """

    def __init__(self, settings: CodeSettings, name_part: Callable[[int, str], bool]) -> None:
        self.settings, self.name_part, self.reader = settings, name_part, CodeReader(settings)
        self.faults: dict[int, str] = {}
        """What is wrong with the code of a part; empty: nothing. One of several pictures is enough to read it."""

    def read(self, number: int, pixels: NDArray[Any]) -> None:
        """Reads the code in a picture of a part (H x W x 3, uint8), and gives it to the part as its serial number."""
        code = self.reader.read(pixels)
        if not code:
            self.faults.setdefault(number, "no_code")
        elif not self.name_part(number, code):
            self.faults[number] = "code_differs"
        elif self.faults.get(number) != "code_differs":
            self.faults[number] = ""
        while len(self.faults) > _MOST_PARTS:
            del self.faults[next(iter(self.faults))]

    def check(self, number: int, judgement: Judgement) -> Judgement:
        """The judgement on a part, or an error because of its code."""
        fault = self.faults.pop(number, "no_code")
        wrong = fault == "code_differs"
        if fault == "no_code" and self.settings.missing == "error":
            wrong = judgement.verdict in PASSING
        return Judgement("error", fault, judgement.score, judgement.label, judgement.regions) if wrong else judgement
