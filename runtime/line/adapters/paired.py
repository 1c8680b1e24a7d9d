"""Triggers from one side, verdicts to another: `source = "presence"` and `outputs = "gpio:…"`.

Acknowledgments and product indices may come from both. A trigger of the side for verdicts is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ...camera.frame import Frame
from ...errors import ConfigProblem, MachineProblem
from ..handshake import Outputs
from . import FrameWatcher, LineAdapter, LineInputs

log = logging.getLogger(__name__)


class PairedAdapter:
    """Two adapters as one.

    Args:
        source: gives the triggers
        target: takes the verdicts
    """

    def __init__(self, source: LineAdapter, target: LineAdapter) -> None:
        self.source, self.target = source, target

    @property
    def fault(self) -> str:
        """What is wrong with either."""
        return "; ".join(filter(None, (self.source.fault, self.target.fault)))

    def start(self, inputs: LineInputs) -> None:
        with locate_outputs():
            self.target.start(_WithoutTriggers(inputs))
        self.source.start(inputs)

    def show(self, outputs: Outputs) -> None:
        """Shows the outputs at both: who triggers may want to see whether the device is ready."""
        self.source.show(outputs)
        self.target.show(outputs)

    def close(self) -> None:
        self.source.close()
        self.target.close()

    def see_frame(self, frame: Frame, exposed: float) -> None:
        """Passes a frame to the side that gives the triggers."""
        if isinstance(self.source, FrameWatcher):
            self.source.see_frame(frame, exposed)


class _WithoutTriggers:
    """The inputs of a side that may acknowledge and select a product."""

    def __init__(self, inputs: LineInputs) -> None:
        self.acknowledge, self.select_product = inputs.acknowledge, inputs.select_product

    def trigger(self, serial: str = "", at: float | None = None) -> int:
        log.warning("trigger.outputs: a trigger came, and is left out: trigger.source gives them")
        return 0

    def miss(self, at: float | None = None) -> int:
        return self.trigger("", at)

    def end(self) -> None:
        """Ends nothing."""


@contextmanager
def locate_outputs() -> Iterator[None]:
    """Problems of an address name the key `outputs`."""
    try:
        yield
    except (ConfigProblem, MachineProblem) as problem:
        message = problem.message.replace("trigger.source", "trigger.outputs")
        raise type(problem)(message, hint=problem.hint) from None
