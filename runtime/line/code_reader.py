"""Bar codes, DataMatrix and QR codes in a part's picture, by zxing-cpp."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.trigger_table import CodeSettings
from ..distribution import require_module
from ..errors import ConfigProblem
from .handshake_state import SERIAL_CHARACTERS


class CodeReader:
    """Reads the code in an area of pictures.

    Raises:
        ConfigProblem: a format is unknown.
        MachineProblem: zxing-cpp is not installed.
    """

    def __init__(self, settings: CodeSettings) -> None:
        require_module("zxingcpp", "zxing-cpp", "codes", "trigger.code")
        import zxingcpp

        self.settings, self.library = settings, zxingcpp
        names = settings.formats or ("AllReadable",)
        try:
            self.formats = zxingcpp.barcode_formats_from_str(",".join(names))
        except ValueError:
            hint = "names are those of zxing-cpp, such as DataMatrix, QRCode, Code128, EAN13"
            raise ConfigProblem(f"trigger.code.formats: unknown in {', '.join(names)}", hint=hint) from None

    def read(self, pixels: NDArray[Any]) -> str:
        """The text of the code in the area; empty if there is none, or if there are several that differ.

        Args:
            pixels: H x W x 3, uint8, blue-green-red
        """
        left, top, right, bottom = self.settings.area
        height, width = pixels.shape[:2]
        rows, columns = slice(int(top * height), round(bottom * height)), slice(int(left * width), round(right * width))
        part = np.ascontiguousarray(pixels[rows, columns])
        if not part.size:
            return ""
        found = self.library.read_barcodes(part, formats=self.formats, text_mode=self.library.TextMode.Plain)
        texts = {"".join(filter(str.isprintable, code.text)).strip()[:SERIAL_CHARACTERS] for code in found}
        return texts.pop() if len(texts) == 1 else ""
