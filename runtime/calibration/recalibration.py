"""Recalibration: threshold and offset of the score, set anew from good images of the place where the model runs.

Other light, another lens or a camera that moved a little raise or lower the scores of good parts. The model itself and
its integers stay as they are. The offset, the difference of the medians, is subtracted from each score, so that scores
keep the scale of the build. The threshold comes from the new images alone, with the guarantee of a build. The build's
threshold, moved by the offset, is no help where they are few: under other light the scores of good parts also spread
differently (docs/accuracy.md).
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..config.polygon import Polygon
from . import good_scores, independent_threshold
from .good_scores import GoodScores


class Recalibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Threshold and offset that replace those of the build."""

    offset: float
    """Subtracted from each score of the model. The other scores here are already lower by it."""
    threshold: float
    images: int
    target_rate: float
    """Share of good parts that may be at or above the threshold."""
    rate_bound: float
    """Upper bound of that share, with 95 % confidence, for parts that are like these images."""
    expected_rate: float
    required_images: int
    """Number of images that prove the target rate."""
    good_scores: GoodScores
    """Of the new images."""
    made: str
    """When, RFC 3339."""
    region: Polygon = ()
    """The region of interest that the scores come from, fractions 0…1 of the frame; empty: the whole frame."""

    @property
    def statement(self) -> str:
        """What the images prove, in words."""
        proven = self.rate_bound <= self.target_rate
        enough = "" if proven else f"; {self.target_rate:.3g} takes {self.required_images}"
        return (
            f"threshold and offset were set anew from {self.images} good images ({self.made}). "
            f"As long as new parts are like these, at most {self.rate_bound:.1%} of good parts raise an alarm with "
            f"95 % confidence, and {self.expected_rate:.1%} on average{enough}"
        )


class ScoreScale(msgspec.Struct, frozen=True):
    """The scores that a model can give."""

    step: float
    """Smallest difference between two scores."""
    highest: float


def recalibrate(
    scores: NDArray[Any],
    scale: ScoreScale,
    build_scores: GoodScores | None,
    target_rate: float,
    made: str,
    region: Polygon = (),
) -> Recalibration:
    """Set threshold and offset from the model's scores of good images.

    Args:
        scores: scores of n good images of different parts, without an offset; at least one
        scale: the scores that the model can give
        build_scores: good scores of the build; None: it recorded none, and the offset is 0
        target_rate: share of good parts that may raise an alarm
        made: date for the record
        region: the region of interest that the scores come from; empty: the whole frame
    """
    own = independent_threshold.choose_threshold(scores, scale.step, target_rate, scale.highest)
    offset = 0.0 if build_scores is None else float(np.median(scores)) - build_scores.median
    return Recalibration(
        offset=offset,
        threshold=own.score - offset,
        images=len(scores),
        target_rate=target_rate,
        rate_bound=own.rate_bound,
        expected_rate=own.expected_rate,
        required_images=own.required_images,
        good_scores=good_scores.summarize(scores, scale.step, scale.highest).shift(offset),
        made=made,
        region=region,
    )
