"""Digital inputs and outputs of the device as signals of the line.

One thread waits for edges and for outputs to set, so a slow chip delays nobody else. A part's trigger has the time that
the kernel gave the edge. With an encoder a part counts as triggered when it is in front of the camera: so many edges
after its sensor. A chip that is gone (one at a USB port) is opened again until it is back.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from math import inf

from ...errors import MachineProblem
from ..handshake import Outputs
from ..handshake_state import SIGNALS
from . import LineInputs
from .encoder_distance import EncoderDistance
from .gpio_lines import GpioLines, LineEdge
from .gpio_options import OUTPUTS, GpioOptions

log = logging.getLogger(__name__)

_RETRY_SECONDS, _CLOSE_SECONDS, _IDLE_SECONDS = 0.5, 3.0, 1.0
_RESULTS = ("ok", "ng", "warn", "error")
_Levels = dict[str, bool]


class GpioAdapter:
    """The adapter `gpio:CHIP`.

    Args:
        chip: path of its device file, or its label
        options: of the URL
        delay: seconds from the trigger to the picture, and to the strobe
    """

    def __init__(self, chip: str, options: GpioOptions, delay: float) -> None:
        self.chip, self.options = chip, options
        self.delay, self.fault = delay, "not opened yet"
        self.wanted: _Levels = dict.fromkeys(OUTPUTS, False)
        self.distance = EncoderDistance(self.options.distance)
        self.strobes: deque[float] = deque()
        self.strobe_until = -inf
        self.product = 0
        self.wakeups: deque[Outputs] = deque()
        self.woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="gpio", daemon=True)

    def start(self, inputs: LineInputs) -> None:
        self.inputs = inputs
        try:
            self.lines: GpioLines | None = self._open()
        except (OSError, ValueError) as error:
            hint = "gpioinfo lists chips, lines and who uses them; the user vedette needs the group gpio"
            raise MachineProblem(f"trigger.source: {self.chip}: {_describe(error)}", hint=hint) from None
        self.thread.start()

    def show(self, outputs: Outputs) -> None:
        """Has the outputs set by the thread."""
        self.wakeups.append(outputs)
        os.eventfd_write(self.woken, 1)

    def close(self) -> None:
        if self.stopping.is_set():
            return
        self.stopping.set()
        os.eventfd_write(self.woken, 1)
        if self.thread.is_alive():
            self.thread.join(_CLOSE_SECONDS)
        if not self.thread.is_alive():
            os.close(self.woken)

    def _open(self) -> GpioLines:
        """Opens the lines. What the inputs show now is from before: levels, and no edges."""
        lines = GpioLines(self.chip, self.options, self.wanted)
        self.fault = ""
        self.inputs.acknowledge(lines.read_level("acknowledge"))
        if self.options.product_lines:
            self.product = lines.read_product()
            self.inputs.select_product(self.product)
        return lines

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                if self.lines is None:
                    self.lines = self._open()
                    log.info("%s is back", self.chip)
                self._serve(self.lines)
            except OSError as error:
                if self.lines is not None:
                    log.warning("%s is lost: %s", self.chip, _describe(error))
                    self.lines.close()
                    self.lines = None
                self.fault = f"{self.chip}: {_describe(error)}"
                self.strobes.clear()
                self._give_up()
                self.stopping.wait(_RETRY_SECONDS)
        self._give_up()
        if self.lines is not None:
            try:
                self._set_outputs(self.lines)
                self.lines.write({"strobe": False})
            except OSError as error:
                log.warning("%s: %s", self.chip, _describe(error))
            self.lines.close()

    def _serve(self, lines: GpioLines) -> None:
        """Serves edges and outputs until the end, or an OSError."""
        waiting = select.poll()
        edges = lines.fileno()
        for file in (self.woken, *([] if edges is None else [edges])):
            waiting.register(file, select.POLLIN)
        lines.write(self.wanted)
        while not self.stopping.is_set():
            ready = {file for file, _ in waiting.poll(int(1000 * self._seconds_left()))}
            if edges in ready:
                for edge in lines.read_edges():
                    self._follow(edge, lines)
            if self.woken in ready:
                os.eventfd_read(self.woken)
            self._set_outputs(lines)
            self._strobe(lines)

    def _seconds_left(self) -> float:
        """Until the strobe changes; `poll` counts in milliseconds, so the rest of one is slept."""
        change = min(self.strobe_until if self.wanted["strobe"] else inf, min(self.strobes, default=inf))
        left = min(change - time.monotonic(), _IDLE_SECONDS)
        if 0 < left < 0.001:
            time.sleep(left)
        return max(0.0, left)

    def _give_up(self) -> None:
        """The parts between sensor and camera: nobody knows any more where they are."""
        for at in self.distance.clear():
            self.inputs.miss(at)

    def _follow(self, edge: LineEdge, lines: GpioLines) -> None:
        if edge.signal == "acknowledge":
            self.inputs.acknowledge(edge.rising)
        elif edge.signal == "encoder":
            late = self.distance.count(edge.at, 1 + edge.lost)
            for _ in late:
                self._trigger(edge.at, lines)
        else:
            if edge.lost:
                log.error("%d triggers came too fast for the kernel's buffer: errors", edge.lost)
            for _ in range(edge.lost):
                self.inputs.miss(edge.at)
            self._arrive(edge.at, lines)

    def _arrive(self, at: float, lines: GpioLines) -> None:
        """A part is at the sensor."""
        if not self.options.encoder:
            self._trigger(at, lines)
            return
        overdue = self.distance.add(at)
        if overdue is not None:
            log.error("the encoder does not count: %d parts are between sensor and camera", len(self.distance.targets))
            self.inputs.miss(overdue)

    def _trigger(self, at: float, lines: GpioLines) -> None:
        if self.options.product_lines and (product := lines.read_product()) != self.product:
            self.product = product
            self.inputs.select_product(product)
        self.inputs.trigger(at=at)
        if self.options.strobe:
            self.strobes.append(at + self.delay)

    def _set_outputs(self, lines: GpioLines) -> None:
        """Sets each state that was asked for, in order: who sees `results ready` finds the verdict set."""
        while self.wakeups:
            outputs = self.wakeups.popleft()
            levels = {signal: bool(getattr(outputs, signal)) for signal in SIGNALS}
            ready = {"results_ready": levels.pop("results_ready")}
            self.wanted |= levels | ready
            for part in (levels, ready) if ready["results_ready"] else (ready, levels):
                lines.write(part)

    def _strobe(self, lines: GpioLines) -> None:
        now = time.monotonic()
        if self.wanted["strobe"] and now >= self.strobe_until:
            self.wanted["strobe"] = False
            lines.write({"strobe": False})
        if self.strobes and now >= self.strobes[0]:
            self.strobes.popleft()
            self.strobe_until, self.wanted["strobe"] = now + self.options.strobe_seconds, True
            lines.write({"strobe": True})


def _describe(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
