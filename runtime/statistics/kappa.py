"""Kappa: how far decisions agree beyond chance; 1 is perfect agreement, 0 is chance.

Cohen's kappa compares two appraisers, or one with the reference (Cohen, "A coefficient of agreement for nominal
scales", 1960). Fleiss' kappa compares any number of decisions about each part (Fleiss, "Measuring nominal scale
agreement among many raters", 1971).

Standard errors come from the linearized estimate, summed part by part, so that several looks at one part do not count
as independent. With one look at each part that of Cohen's kappa is that of Fleiss, Cohen and Everitt ("Large sample
standard errors of kappa and weighted kappa", 1969), and that of Fleiss' kappa is Gwet's ("Variance estimation of
nominal-scale inter-rater reliability with random selection of raters", 2008). They are large-sample results: with fewer
than about 30 parts the interval is too narrow. Perfect agreement has no variance; there the lower limit is that of the
exact interval of the share of parts on which all agree.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .exact_interval import CONFIDENCE, Interval, exact_interval


class Kappa(msgspec.Struct, frozen=True):
    """A coefficient of agreement."""

    value: float | None
    """None: undefined, because all decisions are the same and chance alone would agree."""
    standard_error: float | None
    interval: Interval | None
    """95 % interval."""
    observed: float
    """Share of pairs of decisions that agree."""
    expected: float
    """Share that would agree by chance."""


def cohen_kappa(tables: ArrayLike, confidence: float = CONFIDENCE) -> Kappa:
    """Cohen's kappa of two appraisers.

    Args:
        tables: parts x K x K: for each part the number of pairs of decisions, the first appraiser's in the rows
        confidence: of the interval
    """
    counts = np.asarray(tables, float)
    total = counts.sum()
    joint = counts.sum(axis=0) / total
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    observed, expected = float(np.trace(joint)), float(rows @ columns)
    if np.isclose(expected, 1):
        return Kappa(None, None, None, observed, expected)
    change = _influence(np.eye(len(joint)) - observed, columns[:, None] + rows[None] - 2 * expected, observed, expected)
    parts = (counts * change).sum(axis=(1, 2))
    error = float(np.sqrt((parts**2).sum()) / total)
    return _make_kappa(observed, expected, error, len(counts), confidence)


def fleiss_kappa(counts: ArrayLike, confidence: float = CONFIDENCE) -> Kappa:
    """Fleiss' kappa of two or more decisions about each part.

    Args:
        counts: parts x K: how many of a part's decisions name each category; the same number for every part
        confidence: of the interval
    """
    number = np.asarray(counts, float)
    parts, decisions = len(number), number[0].sum()
    shares = number / decisions
    marginal = shares.mean(axis=0)
    agreement = (number * (number - 1)).sum(axis=1) / (decisions * (decisions - 1))
    observed, expected = float(agreement.mean()), float(marginal @ marginal)
    if np.isclose(expected, 1):
        return Kappa(None, None, None, observed, expected)
    change = _influence(agreement - observed, 2 * (shares @ marginal - expected), observed, expected)
    error = float(np.sqrt((change**2).sum() / (parts * max(parts - 1, 1))))
    return _make_kappa(observed, expected, error, parts, confidence)


def _influence(observed_change: Any, expected_change: Any, observed: float, expected: float) -> NDArray[np.float64]:
    """The change of kappa with a change of both shares, to first order."""
    return np.asarray(observed_change / (1 - expected) - (1 - observed) / (1 - expected) ** 2 * expected_change)


def _make_kappa(observed: float, expected: float, error: float, parts: int, confidence: float) -> Kappa:
    value = (observed - expected) / (1 - expected)
    if observed == 1:
        lowest = exact_interval(parts, parts, confidence)
        low = ((lowest[0] if lowest else 0.0) - expected) / (1 - expected)
        return Kappa(value, error, (max(low, -1.0), 1.0), observed, expected)
    reach = NormalDist().inv_cdf(1 - (1 - confidence) / 2) * error
    return Kappa(value, error, (max(value - reach, -1.0), min(value + reach, 1.0)), observed, expected)
