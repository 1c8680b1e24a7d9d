"""Where to draw the line, from good images that nothing has been fitted to, and what can be promised of it.

Of unseen good parts that are drawn as these n were, the share above the k-th smallest score has a Beta(n + 1 - k, k)
distribution, whatever that of the scores is (Vovk, "Conditional validity of inductive conformal predictors", 2012);
ties only make it smaller. Its 1 - RISK quantile is the stated bound, and the line is the lowest whose bound keeps the
wish. No score does where the images are fewer than log RISK / log(1 - wish), 299 for 1 %. Then the line lies above them
all or, from FEWEST images on, where tail.py extrapolates the wish to, if that is higher still. The bound remains what
the images alone can vouch for; only the interval is then a matter of the model.

Images of one group resemble each other, and tomorrow brings another group. How much so is told by the intraclass
correlation of the upper half of the scores, as ranks turned into normal scores, so that groups that spread count as
well as groups that shift; its upper confidence limit is that of the one-way analysis of variance (Searle, "Linear
Models", 1971). By the design effect (Kish, "Survey Sampling", 1965) it makes n images worth fewer independent ones, and
the bound is that of so many, as Korn and Graubard do with counts ("Confidence intervals for proportions with small
expected number of positive counts estimated from survey data", 1998). Limit and bound take half of the risk each.

It is imprecise there: a kind of group that was never seen cannot be reckoned with, and G groups cannot exclude that it
is 1 - RISK ** (1 / G) of all. Where the groups are too few for the wish, the line is drawn as if each image stood
alone: above them all, one odd picture would decide it at the price of detections, and still nothing would be proven.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import ceil, floor, inf, log, log1p
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import special

from . import extreme_value_tail

RISK = 0.05
FEWEST = 30  # scores, below which there is no tail to fit


class Threshold(msgspec.Struct, frozen=True):
    """A line between good and anomalous, and what it promises of good parts that nobody has seen yet."""

    score: float
    wished: float
    """Share of good parts that may be at or above it."""
    promised: float
    """Share that the sample can vouch for, on average over such samples."""
    bound: float
    """Share that is not exceeded but with probability `risk`, whatever the distribution of the scores."""
    risk: float
    interval: tuple[float, float]
    """Between which shares the true one lies, each end with that risk; by the model where the method is a model's."""
    images: int
    groups: int
    """As many as images where each stands alone."""
    worth: float
    """Independent images that they count for."""
    enough: int
    """Independent images that it takes to vouch for the wish."""
    method: Literal["conformal", "extreme value", "above all"]

    @property
    def kept(self) -> bool:
        """Whether the wish is vouched for."""
        return self.bound <= self.wished

    @property
    def statement(self) -> str:
        """What it promises, in words."""
        grouped = self.groups < self.images
        sure = _percent(1 - self.risk)
        crowd = f" in {self.groups} group{'' if self.groups == 1 else 's'}" if grouped else ""
        said = [
            f"The threshold was set with {self.images} good images{crowd} that nothing else had used.",
            f"Asked was that at most {_percent(self.wished)} of good parts raise an alarm.",
        ]
        if grouped:
            said.append(
                f"Images of one group resemble each other: for parts of new groups they are worth {self.worth:.1f} "
                "independent ones."
            )
        like = "groups differ as these do" if grouped else "parts are like these"
        said.append(
            f"As long as {like}, those that do are at most {_percent(self.bound)} with {sure} confidence, "
            f"and {_percent(self.promised)} on average."
        )
        if self.method == "extreme value":
            low, high = map(_percent, self.interval)
            said.append(
                "The threshold lies above all of them, where an extreme-value tail fitted to the highest quarter of "
                "the scores puts the wish. That is an extrapolation: by this model, and no further, they are "
                f"{low} to {high}."
            )
        elif self.method == "above all":
            said.append("The threshold lies just above all of them.")
        if not self.kept:
            said.append(f"The sample is too small for the wish: it takes {self.enough} independent good images.")
        if not self.kept and grouped:
            said.append(
                f"{self.groups} group{' is' if self.groups == 1 else 's are'} too few; the threshold lies where it "
                "would if each image stood alone."
            )
        if grouped:
            unseen = 1 - self.risk ** (1 / self.groups)
            said.append(f"A kind of group that was not seen may still be up to {_percent(unseen)} of all groups.")
        return " ".join(said)


def choose(
    scores: NDArray[Any],
    step: float,
    wished: float,
    groups: Sequence[Hashable] | None = None,
    highest: float = inf,
) -> Threshold:
    """The lowest threshold that keeps the wish with confidence 1 - `RISK`, or what comes nearest.

    Args:
        scores: of good images, multiples of `step`
        step: the smallest difference between two scores; the threshold lies half of it above the chosen score, so that
            neither back end's rounding decides
        wished: share of good parts that may raise an alarm
        groups: of each score, where there are any; only whole groups are exchangeable
        highest: the highest score that there can be; a line must stay within reach
    """
    ordered = np.sort(np.asarray(scores, float))
    count = len(ordered)
    names = list(range(count)) if groups is None else groups
    grouped = len(set(names)) < count
    risk = RISK / 2 if grouped else RISK
    worth = _worth(np.asarray(scores, float), names, risk) if grouped else float(count)

    keeping = _keeping(wished, count, worth, risk) or _keeping(wished, count, count, RISK)
    above = max(keeping - 1, 0)
    bound = _exceeded(above, count, worth, 1 - risk)
    line = Threshold(
        score=float(ordered[count - 1 - above] + step / 2),
        wished=wished,
        promised=(above * worth / count + 1) / (worth + 1),
        bound=bound,
        risk=RISK,
        interval=(_exceeded(above, count, worth, risk), bound),
        images=count,
        groups=len(set(names)),
        worth=worth,
        enough=ceil(log(risk) / log1p(-wished)),
        method="conformal" if keeping else "above all",
    )
    if keeping or worth < FEWEST or (fitted := extreme_value_tail.fit(ordered)) is None:
        return line
    reached = min(fitted.score(wished), highest - step)
    score = step * (floor(reached / step + 1e-6) + 0.5)
    if score <= line.score:
        return line
    low, high = fitted.interval(reached, worth / count, RISK)
    interval = (min(low, bound), min(high, bound))
    return msgspec.structs.replace(line, score=score, interval=interval, method="extreme value")


def _keeping(wished: float, count: int, worth: float, risk: float) -> int:
    """How many of the highest scores, if any, bound the true share above them by what is wished."""
    return int((_bounds(np.arange(count), count, worth, 1 - risk) <= wished).sum())


def _exceeded(above: int, count: int, worth: float, confidence: float) -> float:
    return float(_bounds(np.array(above), count, worth, confidence))


def _bounds(above: NDArray[Any], count: int, worth: float, confidence: float) -> NDArray[Any]:
    """What the true share does not exceed, with that confidence, if `above` of `count` scores lie above the line."""
    seen = above * worth / count
    return np.asarray(special.betaincinv(seen + 1, worth - seen, confidence))


def _worth(scores: NDArray[Any], names: Sequence[Hashable], risk: float) -> float:
    """How many independent scores these tell as much as, at least, but with probability `risk`."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    group = np.array([numbers[name] for name in names])
    sizes = np.bincount(group)
    count, groups = len(scores), len(sizes)
    crowd = float((sizes**2).sum() / count)  # how many share the group of a score
    if groups == 1:
        return 1.0
    spots, counts = np.unique(scores, return_inverse=True, return_counts=True)[1:]
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[spots]
    high = np.maximum(special.ndtri(ranks / (count + 1)), 0.0)

    means = np.bincount(group, high) / sizes
    between = float((sizes * (means - high.mean()) ** 2).sum() / (groups - 1))
    within = float(((high - means[group]) ** 2).sum() / (count - groups))
    if within == 0:
        return count / crowd if between > 0 else float(groups)
    lowest = float(special.fdtri(groups - 1, count - groups, risk))
    ratio = between / within / lowest
    size = (count - crowd) / (groups - 1)
    correlation = min(max((ratio - 1) / (ratio - 1 + size), 0.0), 1.0)
    return count / (1 + (crowd - 1) * correlation)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
