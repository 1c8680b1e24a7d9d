"""Threshold of a part of which some images look defective (compress/data/audit/suspected_defects.py).

A defective image among the threshold images raises the threshold, and defects are missed. But an image that only looks
defective belongs there: without it, the guarantee would not hold. A program cannot tell the two apart, so the threshold
is chosen with all images, and the one without the suspected images is stated beside it. A person who finds defective
images takes them out of the folder, or out of the keep list, and builds again.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import inf
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .conformal_threshold import AnomalyThreshold, choose_threshold


class SuspectThreshold(AnomalyThreshold, frozen=True, kw_only=True):
    """A threshold with the one that would be chosen without the suspected images."""

    suspects: int
    """Number of threshold images that look defective."""
    score_without: float
    """The threshold without them."""

    @property
    def statement(self) -> str:
        """The guarantee in words, with what would change without the suspected images."""
        which, it, good = (
            ("One of these images looks", "it", "it shows a good part")
            if self.suspects == 1
            else (f"{self.suspects} of these images look", "them", "they show good parts")
        )
        return (
            f"{super().statement} {which} defective to a model of the other good images; report.json names {it} "
            f"(audit, suspects). As long as {good}, all of this holds. Otherwise take {it} out and build again: "
            f"without {it} the threshold would be {self.score_without:.3g} instead of {self.score:.3g}."
        )


def choose_threshold_with_suspects(
    scores: NDArray[Any],
    suspected: NDArray[np.bool_],
    step: float,
    target_rate: float,
    groups: Sequence[Hashable],
    max_score: float = inf,
) -> AnomalyThreshold:
    """The threshold of all images, and, if some of them look defective, the one without these.

    Args:
        scores: scores of good images, multiples of `step`
        suspected: which of them look defective
        step: as for `choose_threshold`
        target_rate: share of good parts that may raise an alarm
        groups: group of each score
        max_score: highest possible score
    """
    threshold = choose_threshold(scores, step, target_rate, groups, max_score)
    if not suspected.any() or suspected.all():
        return threshold
    others = [group for group, suspect in zip(groups, suspected, strict=True) if not suspect]
    without = choose_threshold(scores[~suspected], step, target_rate, others, max_score)
    return SuspectThreshold(
        **msgspec.structs.asdict(threshold), suspects=int(suspected.sum()), score_without=without.score
    )
