"""The codes of parts as their serial numbers.

A part whose code is not the serial number that the line gave is an error: one of the two belongs to another part.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..config.configuration import Config
from ..config.product_table import find_product, reads_product
from .code_reader import CodeReader
from .handshake import PASSING
from .inspection_line import InspectionLine
from .judgement import Judgement

_MOST_PARTS = 1000  # remembered; those in flight are fewer


class PartCodes:
    """Reads the codes of the parts of one camera.

    Args:
        settings: of the camera, with `[trigger.code]`
        line: gives a part its serial number and its product

    Raises:
        ConfigProblem: a format is unknown.
        MachineProblem: zxing-cpp is not installed.
    """

    def __init__(self, settings: Config, line: InspectionLine) -> None:
        assert settings.trigger is not None
        assert settings.trigger.code is not None
        self.settings, self.line = settings.trigger.code, line
        self.reader = CodeReader(self.settings)
        tables = [each.settings for each in settings.products]
        self.products = tables if reads_product(tables) else []
        """Empty: the code says nothing about the product."""
        self.faults: dict[int, str] = {}
        """What is wrong with the code of a part; empty: nothing. One of several pictures is enough to read it."""

    def read(self, number: int, pixels: NDArray[Any]) -> bool:
        """Reads the code in a picture of a part (H x W x 3, uint8): its serial number, and its product.

        Returns False if the picture cannot be judged, because only its code could say by which model.
        """
        code = self.reader.read(pixels)
        if not code:
            self.faults.setdefault(number, "no_code")
        elif not self.line.name_part(number, code):
            self.faults[number] = "code_differs"
        elif self.faults.get(number) != "code_differs":
            self.faults[number] = ""
        while len(self.faults) > _MOST_PARTS:
            del self.faults[next(iter(self.faults))]
        if code and self.products:
            self.line.assign_product(number, find_product(self.products, code))
        return bool(code) or not self.products

    def check(self, number: int, judgement: Judgement) -> Judgement:
        """The judgement on a part, or an error because of its code."""
        fault = self.faults.pop(number, "no_code")
        wrong = fault == "code_differs"
        if fault == "no_code" and self.settings.missing == "error":
            wrong = judgement.verdict in PASSING
        return Judgement("error", fault, judgement.score, judgement.label, judgement.regions) if wrong else judgement
