"""The gate of a camera with `[trigger]`: only pictures of parts are inspected.

It takes the place of the motion gate in the daemon's loop. A recording is read picture by picture, one for each part.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

import msgspec

from ..camera.frame import Frame
from ..config.configuration import Config
from ..events.outbox import Outbox
from ..inference.prediction import Prediction
from .adapters import FrameWatcher
from .inspection_line import InspectionLine
from .judgement import Judgement, combine, is_too_dark
from .line_figures import LineFigures, ProductFigures
from .line_products import ProductChoice
from .part_codes import PartCodes

_SHARES = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
_PATIENCE = 0.2  # seconds between looks at whether the daemon shall stop


class PartGate:
    """Gives parts their pictures and judges them.

    Args:
        settings: configuration of the camera, with `[trigger]`
        choice: the models of its products
        outbox: receives the verdicts
        wake: called when verdicts were stored
        live: whether the camera runs by itself

    Raises:
        ConfigProblem: `[trigger]` is wrong.
    """

    def __init__(
        self, settings: Config, choice: ProductChoice, outbox: Outbox, wake: Callable[[], None], live: bool
    ) -> None:
        assert settings.trigger is not None
        self.judges = {each.index: each.judge for each in choice.products if each.judge is not None}
        self.select = choice.select
        self.line = InspectionLine(settings, choice.products, outbox, wake)
        self.wanted, self.decision, self.live = settings.trigger.pictures, settings.trigger.decision, live
        adapter = self.line.adapter
        self.watcher = adapter if settings.trigger.presence and isinstance(adapter, FrameWatcher) else None
        """What finds the triggers in the frames; a recording is then read like a camera."""
        self.claimed: int | None = None
        """Of a recording: the part for which the next picture is taken."""
        self.codes = None if settings.trigger.code is None else PartCodes(settings, self.line)
        self.current = self.product = 0
        """The part whose picture is inferred, and its product."""
        self.judgements: dict[int, list[Judgement]] = {}
        self.predictions: tuple[Prediction, ...] | None = None
        self.rejected = ""
        self.explained: deque[str] = deque(maxlen=64)
        """The newest of `rejected`: of several pictures of a part the first one that is rejected counts."""
        self.inferences = self.skipped = 0
        self.opened = 0.0
        self.busy: deque[tuple[float, float]] = deque(maxlen=1000)

    def pace(self, frames: Iterator[Frame | None], stop: threading.Event) -> Iterator[Frame | None]:
        """The frames of the camera, those of a recording when a part needs one; until no part can follow.

        Raises:
            MachineProblem: verdicts cannot be stored.
        """
        if not self.live:
            frames = chain(list(islice(frames, 1)), frames)  # the decoder starts before the first trigger
        self.line.start()
        while not stop.is_set() and not self.line.is_over:
            self.line.recorder.check()
            if not self.live and self.watcher is None:
                self.claimed = self.line.await_part(_PATIENCE)
                if self.claimed is None:
                    yield None
                    continue
            try:
                yield next(frames)
            except StopIteration:
                return

    def is_open(self, frame: Frame) -> bool:
        """True if the frame shows a part that waits for its verdict; `remember` then takes what inference gave."""
        number = self.claimed
        if self.live or self.watcher is not None:
            exposed = frame.moment if self.live else time.monotonic()
            if self.watcher is not None:
                self.watcher.see_frame(frame, exposed)
            number = self.line.claim(exposed, frame.taken if self.live else time.time())
        self.predictions, self.rejected = None, ""
        product = None if number is None else self.line.product_of(number)
        if number is None or product not in self.judges:
            self.skipped += 1
            return False
        if is_too_dark(frame.pixels):
            self._add(number, Judgement("error", "too_dark"))
            return False
        if self.codes is not None:
            if not self.codes.read(number, frame.pixels):
                self._add(number, Judgement("error", "no_code"))
                return False
            product = self.line.product_of(number)
            if product not in self.judges:
                return False
        self.select(product)
        self.current, self.product, self.opened = number, product, time.monotonic()
        return True

    def remember(self, predictions: tuple[Prediction, ...] | None) -> None:
        """Judges the part of the frame that opened the gate."""
        if self.line.product_of(self.current) in (None, self.product):
            judgement = self.judges[self.product].judge(predictions)
            event = self.line.event_of(self.current) if judgement.verdict == "reject" else ""
            if event and event not in self.explained:
                self.explained.append(event)
                self.rejected = event
            self._add(self.current, judgement)
        else:  # a code has named another product in the meantime
            self._add(self.current, Judgement("error", "unknown_product"))
        self.predictions = predictions
        self.inferences += 1
        now = time.monotonic()
        self.busy.append((now, now - self.opened))

    def _add(self, number: int, judgement: Judgement) -> None:
        self.judgements = {part: each for part, each in self.judgements.items() if self.line.event_of(part)}
        judgements = self.judgements.setdefault(number, [])
        judgements.append(judgement)
        if len(judgements) == self.wanted:
            judgement = combine(judgements, self.decision)
            self.line.decide(number, judgement if self.codes is None else self.codes.check(number, judgement))

    def figures(self) -> dict[str, Any]:
        """Its part of the status report. Any thread may call it."""
        busy, latencies, line = list(self.busy), sorted(self.line.recorder.latencies), self.line
        span = busy[-1][0] - busy[0][0] if len(busy) > 1 else 0.0
        shares = {name: latencies[int(share * (len(latencies) - 1))] for name, share in _SHARES} if latencies else {}
        choice = line.products.by_index.values()
        figures = LineFigures(
            msgspec.structs.replace(line.recorder.counts),
            len(line.facts),
            line.handshake.unacknowledged,
            line.products.describe(line.handshake.product)[0],
            tuple(
                ProductFigures(
                    each.name,
                    each.index,
                    each.release,
                    msgspec.structs.replace(counts),
                    None if each.drift is None else each.drift.figures(),
                )
                for each, counts in zip(choice, line.recorder.by_product.values(), strict=True)
            ),
            line.golden.status(),
            shares,
        )
        duty = min(1.0, sum(seconds for _, seconds in busy[1:]) / span) if span else None
        return {"inferences": self.inferences, "skipped": self.skipped, "duty": duty, "line": figures}

    def faults(self) -> dict[str, bool]:
        """The faults of the line, in words, with whether each is present. Any thread may call it."""
        return self.line.faults()

    def close(self) -> None:
        """Ends: parts in flight are errors."""
        self.line.close()
