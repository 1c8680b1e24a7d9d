"""The back end `edgetpu`: the bundle's TFLite file, compiled by edgetpu_compiler, on a Coral Edge TPU.

The compiled part is one operator that only the delegate libedgetpu knows: without it LiteRT refuses the file, so that
nothing falls back to the processor unseen. The arithmetic is that of the TFLite file, with roundings of its own.

Imprecise: it was not run on an Edge TPU by us (docs/devices.md).
"""

from __future__ import annotations

import sys
from typing import Any

from ...errors import MachineProblem
from .tflite import TfliteBackend

_LIBRARY = "libedgetpu.so.1"
_INSTALL = "apt install libedgetpu1-std (Coral's repository), of the same age as LiteRT, and add the user to plugdev"


class EdgeTpuBackend(TfliteBackend):
    """Runs the compiled TFLite model."""

    def _load_delegates(self, interpreter: Any) -> list[Any]:
        try:
            delegate = sys.modules[interpreter.__module__].load_delegate(_LIBRARY)
        except OSError as error:
            raise MachineProblem(f"Edge TPU: {_LIBRARY} is not here: {error}", _INSTALL) from None
        except (ValueError, RuntimeError) as error:
            hint = f"connect the Edge TPU, or give the user access to it: {_INSTALL}"
            raise MachineProblem(f"Edge TPU: {_LIBRARY} finds no device: {error}", hint) from None
        self.version = f"edgetpu, {self.version}"
        return [delegate]
