"""Drift told once: when it begins, and when it is over.

A report stands until the evidence has fallen to CLEARED of the limit. The statistic is at its limit when drift is
reported, and while scores lie as far out as an alternative of the test, the chance that it ever falls so far is below
1 % (Ville's inequality for the likelihood ratio, of six of which the statistic is the mean). With simulated scores of a
normal distribution, band from 120 images, 60 runs: after a shift by 0.8 standard deviations and more, 2 of 118 reports
were taken back within the next 1,000 scores (of half a standard deviation, less than an alternative: 9 of 42); once the
scores were back it took 160 to 170 scores in the median, about a quarter of an hour.

What was told is kept over restarts. After one, the statistic starts anew; a report is taken back only after WINDOW
scores.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..atomic_file import write_atomically
from ..errors import UNREADABLE, Problem
from .drift import WINDOW, DriftFigures, DriftMonitor

log = logging.getLogger(__name__)

CLEARED = 1e-3
FILE_NAME = "drift.json"


class ToldDrift(msgspec.Struct, frozen=True):
    """The report that stands."""

    model: str
    """`model_id` of the bundle whose scores had drifted."""


class ProductDrift(NamedTuple):
    """The scores of one product of a camera."""

    product: str
    """Its name; empty: the camera has one only."""
    model: str
    """`model_id` of its bundle."""
    monitor: DriftMonitor | None
    """None: the bundle does not say where good scores lie."""


class DriftWatch:
    """Compares the figures of the drift monitor with what was told.

    Args:
        folder: the camera's state folder
        watched: the scores; with another model, the report before does not count
        number: of the product, from 0
    """

    def __init__(self, folder: Path, watched: ProductDrift, number: int = 0) -> None:
        self.product, self.model, self.monitor = watched
        self.path = folder / (f"drift-{number}.json" if number else FILE_NAME)
        self.is_told = self._was_told()
        self.samples = 0

    def check(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields kind and facts of a system event if drift began or is over."""
        if self.monitor is None or self.monitor.samples == self.samples:
            return
        self.samples, figures = self.monitor.samples, self.monitor.figures()
        if not self.is_told and figures.drifted:
            yield self._tell(True, figures)
        elif self.is_told and figures.evidence <= CLEARED and figures.samples >= WINDOW:
            yield self._tell(False, figures)

    def _tell(self, drifted: bool, figures: DriftFigures) -> tuple[str, dict[str, Any]]:
        self.is_told = drifted
        try:
            if drifted:
                content = msgspec.json.encode(ToldDrift(self.model))
                write_atomically(self.path, content, "free space on the disk", private=True)
            else:
                self.path.unlink(missing_ok=True)
        except Problem as problem:
            log.warning("after a restart this may be told again: %s", problem.message)
        except OSError as error:
            log.warning("after a restart this may be told again: %s: %s", self.path, error.strerror)
        shares = {"share_above": figures.share_above, "share_below": figures.share_below, "product": self.product}
        return "drift", {"drifted": drifted, "model": self.model, "samples": figures.samples, **shares}

    def _was_told(self) -> bool:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=ToldDrift).model == self.model
        except (OSError, *UNREADABLE):
            return False
