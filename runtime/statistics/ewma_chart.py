"""EWMA chart: small changes that last, by an exponentially weighted moving average (Roberts, 1959).

Each sample is standardized by the reference: z = (observed - expected) / standard deviation. The chart follows
e = smoothing * z + (1 - smoothing) * e, and signals beyond `limit` standard deviations of e. Its error is computed and
not taken from a table of normal values: the average run length in control by a Markov chain over the states of e (Brook
and Evans, "An approach to the probability distribution of CUSUM run length", 1972), for shares with the binomial
distribution of the samples. It holds if samples are independent and the reference is true.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .proportion_chart import binomial_probabilities

SMOOTHING = 0.2
LIMIT = 2.86  # standard deviations: for normal values 370 samples in control (Lucas and Saccucci, 1990)
_STATES = 301
_SMALL = 1e-12  # probability that is left out


class Increments(msgspec.Struct, frozen=True):
    """The distribution of a standardized sample in control."""

    values: NDArray[np.float64]
    probabilities: NDArray[np.float64]


class EwmaChart(msgspec.Struct, frozen=True):
    """The chart."""

    smoothing: float
    limit: float
    """In standard deviations of the average."""
    bound: float
    """The same in the unit of `averages`."""
    averages: tuple[float, ...]
    """In standard deviations of a sample."""
    signals: tuple[bool, ...]
    in_control_run_length: float
    """Samples until a false signal, on average, for samples of the median size."""
    any_false_alarm: float
    """Probability of at least one false signal in these samples."""


def share_increments(size: int, rate: float) -> Increments:
    """The standardized share of `size` parts that are rejected at `rate`, which is strictly between 0 and 1."""
    probabilities = binomial_probabilities(size, rate)
    kept = np.flatnonzero(probabilities > _SMALL)
    values = (kept - size * rate) / np.sqrt(size * rate * (1 - rate))
    return Increments(values, probabilities[kept] / probabilities[kept].sum())


def normal_increments() -> Increments:
    """A standard normal value, in cells of a hundredth up to six standard deviations."""
    values = np.linspace(-6, 6, 1201)
    density = np.exp(-(values**2) / 2)
    return Increments(values, density / density.sum())


def draw_ewma_chart(
    deviations: ArrayLike,
    increments: Sequence[Increments],
    typical: Increments,
    smoothing: float = SMOOTHING,
    limit: float = LIMIT,
) -> EwmaChart:
    """The chart of some samples.

    Args:
        deviations: the standardized samples, N
        increments: the distribution of each in control, N
        typical: that of a sample of the median size
        smoothing: weight of the newest sample, 0…1
        limit: in standard deviations of the average
    """
    bound = limit * float(np.sqrt(smoothing / (2 - smoothing)))
    average, averages = 0.0, []
    for deviation in np.asarray(deviations, float):
        average = smoothing * float(deviation) + (1 - smoothing) * average
        averages.append(average)
    return EwmaChart(
        smoothing=smoothing,
        limit=limit,
        bound=bound,
        averages=tuple(averages),
        signals=tuple(abs(each) > bound for each in averages),
        in_control_run_length=run_length(typical, smoothing, bound),
        any_false_alarm=signal_probability(increments, smoothing, bound),
    )


def run_length(increments: Increments, smoothing: float, bound: float) -> float:
    """The average number of samples until a signal, from an average of 0."""
    chain = _transitions(increments, smoothing, bound)
    lengths = np.linalg.solve(np.eye(_STATES) - chain, np.ones(_STATES))
    return float(lengths[_STATES // 2])


def signal_probability(increments: Sequence[Increments], smoothing: float, bound: float) -> float:
    """The probability of at least one signal in samples with these distributions, from an average of 0."""
    states, chains = np.eye(_STATES)[_STATES // 2], dict[int, NDArray[np.float64]]()
    for each in increments:
        if id(each) not in chains:
            chains[id(each)] = _transitions(each, smoothing, bound)
        states = states @ chains[id(each)]
    return float(1 - states.sum())


def _transitions(increments: Increments, smoothing: float, bound: float) -> NDArray[np.float64]:
    """Probabilities of a step from each state to each other; the rest of a row is that of a signal."""
    width = 2 * bound / _STATES
    centers = -bound + width * (np.arange(_STATES) + 0.5)
    reached = (1 - smoothing) * centers[:, None] + smoothing * increments.values[None]
    place = (reached + bound) / width - 0.5
    inside = np.abs(reached) <= bound
    cell = np.clip(np.rint(place), 0, _STATES - 1).astype(int)
    chain = np.zeros((_STATES, _STATES))
    rows = np.broadcast_to(np.arange(_STATES)[:, None], cell.shape)
    weights = np.broadcast_to(increments.probabilities[None], cell.shape)
    np.add.at(chain, (rows[inside], cell[inside]), weights[inside])
    return chain
