"""What so many images can prove, said before time is spent on them.

The interval of an AUROC is that of Hanley and McNeil, "The Meaning and Use of the Area under a Receiver Operating
Characteristic (ROC) Curve" (1982), whose variance assumes exponential scores: close enough to plan with. The smallest
false-alarm rate is the bound of compress/evaluation/conformal_threshold.py for a threshold above all of
the images, if they are independent.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import msgspec

from ...evaluation.conformal_threshold import RISK

EXPECTED = 0.9  # the AUROC that the interval is told for


class Certainty(msgspec.Struct, frozen=True):
    """What the figures of a build will be worth."""

    threshold: int
    """Good images that the threshold is set with."""
    good: int
    """Good images of the test."""
    defect: int
    """Defective images of the test."""

    @property
    def smallest_rate(self) -> float:
        """The smallest false-alarm rate that the threshold images vouch for, with confidence 1 - `RISK`."""
        return float(1 - RISK ** (1 / self.threshold)) if self.threshold else 1.0

    @property
    def half_width(self) -> float | None:
        """Half the 95 % interval of an AUROC of `EXPECTED`; None where there is nothing to measure it on."""
        if not self.good or not self.defect:
            return None
        one, two = EXPECTED / (2 - EXPECTED), 2 * EXPECTED**2 / (1 + EXPECTED)
        variance = EXPECTED * (1 - EXPECTED)
        variance += (self.defect - 1) * (one - EXPECTED**2) + (self.good - 1) * (two - EXPECTED**2)
        return 1.96 * sqrt(variance / (self.good * self.defect))

    def facts(self) -> dict[str, Any]:
        """For programs."""
        told = {"smallest_false_alarm_rate": self.smallest_rate, "auroc_half_width": self.half_width}
        return {"threshold": self.threshold, "test_good": self.good, "test_defect": self.defect, **told}

    def __str__(self) -> str:
        text = f"{self.threshold} threshold images vouch for a false-alarm rate of {self.smallest_rate:.2g} at best"
        if self.half_width is None:
            return f"{text}; without defective images no AUROC can be measured"
        images = f"{self.good} good and {self.defect} defective test images"
        return f"{text}; {images} tell an AUROC of {EXPECTED} to ± {self.half_width:.3f}"
