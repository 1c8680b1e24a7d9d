"""Sample size: the precision of the metrics of a build that the number of images allows.

The confidence interval of the AUROC follows Hanley and McNeil, "The Meaning and Use of the Area under a Receiver
Operating Characteristic (ROC) Curve" (1982). Its variance assumes exponential scores, which is accurate enough for
planning. The smallest false-alarm rate is the bound of compress/evaluation/conformal_threshold.py for a threshold above
the scores of all threshold images. It assumes independent images.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import msgspec

from vedette.runtime.calibration.independent_threshold import RISK

EXPECTED_AUROC = 0.9  # the confidence interval is computed at this AUROC


class SampleSize(msgspec.Struct, frozen=True):
    """Numbers of images, and the precision of the metrics that they allow."""

    threshold: int
    """Number of good images that determine the decision threshold."""
    good_test: int
    """Number of good test images."""
    defective_test: int
    """Number of defective test images."""

    @property
    def smallest_false_alarm_rate(self) -> float:
        """The smallest bound on the false-alarm rate that the threshold images allow, with confidence 1 - `RISK`."""
        return float(1 - RISK ** (1 / self.threshold)) if self.threshold else 1.0

    @property
    def auroc_half_width(self) -> float | None:
        """Half the width of the 95 % confidence interval at `EXPECTED_AUROC`; None if a class has no test image."""
        if not self.good_test or not self.defective_test:
            return None
        q1, q2 = EXPECTED_AUROC / (2 - EXPECTED_AUROC), 2 * EXPECTED_AUROC**2 / (1 + EXPECTED_AUROC)
        defective_term = (self.defective_test - 1) * (q1 - EXPECTED_AUROC**2)
        good_term = (self.good_test - 1) * (q2 - EXPECTED_AUROC**2)
        variance = EXPECTED_AUROC * (1 - EXPECTED_AUROC)
        variance += defective_term + good_term
        return 1.96 * sqrt(variance / (self.good_test * self.defective_test))

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers as JSON-compatible values."""
        bounds = {
            "smallest_false_alarm_rate": self.smallest_false_alarm_rate,
            "auroc_half_width": self.auroc_half_width,
        }
        return {"threshold": self.threshold, "test_good": self.good_test, "test_defect": self.defective_test, **bounds}

    def __str__(self) -> str:
        rate = f"{self.smallest_false_alarm_rate:.2g}"
        text = f"{self.threshold} threshold images bound the false-alarm rate to {rate} at best"
        if self.auroc_half_width is None:
            return f"{text}; without defective images no AUROC can be measured"
        images = f"{self.good_test} good and {self.defective_test} defective test images"
        return f"{text}; {images} measure an AUROC of {EXPECTED_AUROC} to ± {self.auroc_half_width:.3f}"
