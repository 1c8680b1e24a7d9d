"""Control charts of the products of a shift: rejects as p-chart and EWMA, and the mean score.

A sample is the quarter of an hour that the counters hold. The reference is the same product in earlier shifts, as far
as they are kept. Errors (no verdict) are left out: they say nothing about the part.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec
import numpy as np

from ..events.event import format_rfc3339
from ..events.part_count_tables import CountRow, ScoreRow
from ..events.part_stats import count_names, group
from ..statistics.ewma_chart import EwmaChart, Increments, draw_ewma_chart, normal_increments, share_increments
from ..statistics.proportion_chart import ProportionChart, draw_proportion_chart
from ..statistics.trend import Trend, fit_trend
from .shift_data import ShiftData

MIN_REFERENCE_PARTS = 300  # fewer earlier parts say too little about a share of a few percent
MIN_REFERENCE_SPANS = 8
_HOUR = 3600.0
_INSPECTED = ("accept", "warn", "reject")


class Baseline(msgspec.Struct, frozen=True):
    """What the shift is compared with."""

    parts: int
    rejects: int
    share: float
    shifts: int
    is_own: bool
    """True: the shift itself, because earlier shifts have too few parts."""


class ProductChart(msgspec.Struct, frozen=True):
    """The charts of the rejects of one product."""

    product: str
    begins: tuple[str, ...]
    """Of the samples."""
    baseline: Baseline
    p_chart: ProportionChart
    ewma: EwmaChart | None
    """None: the reference has no reject, or nothing else."""


class ScorePoint(msgspec.Struct, frozen=True):
    """The scores of a sample."""

    begins: str
    parts: int
    mean: float
    lowest: float
    highest: float


class ScoreTrend(msgspec.Struct, frozen=True):
    """The scores of one product with one release of the model."""

    product: str
    release: str
    points: tuple[ScorePoint, ...]
    trend: Trend | None
    """Change of the mean score for each hour; None: too few samples."""
    reference: float | None
    """Mean score of the earlier shifts; None: there are too few."""
    ewma: EwmaChart | None
    """Of the means, in standard deviations of the means of the earlier shifts."""


def chart_products(data: ShiftData) -> tuple[ProductChart, ...]:
    """The charts of the rejects, by product."""
    earlier = group(data.earlier_counts, lambda row: row.product)
    products = group(data.counts, lambda row: row.product)
    return tuple(
        chart for name, rows in products.items() if (chart := _chart_rejects(name, rows, earlier.get(name, [])))
    )


def _chart_rejects(product: str, rows: Sequence[CountRow], earlier: Sequence[CountRow]) -> ProductChart | None:
    spans = {start: each for start, each in _by_span(rows).items() if _inspected(each)}
    if not spans:
        return None
    baseline = _find_baseline(rows, earlier)
    rejects = [count_names(each, "verdict")["reject"] for each in spans.values()]
    parts = [_inspected(each) for each in spans.values()]
    ewma = None
    if 0 < baseline.share < 1:
        rate = baseline.share
        sizes = {size: share_increments(size, rate) for size in {*parts, int(median(parts))}}
        deviations = [
            (hits - size * rate) / np.sqrt(size * rate * (1 - rate)) for hits, size in zip(rejects, parts, strict=True)
        ]
        ewma = draw_ewma_chart(deviations, [sizes[size] for size in parts], sizes[int(median(parts))])
    chart = draw_proportion_chart(rejects, parts, baseline.share)
    return ProductChart(product, tuple(map(format_rfc3339, spans)), baseline, chart, ewma)


def _by_span(rows: Sequence[CountRow]) -> dict[int, list[CountRow]]:
    spans: dict[int, list[CountRow]] = {}
    for row in rows:
        spans.setdefault(row.start, []).append(row)
    return dict(sorted(spans.items()))


def _inspected(rows: Sequence[CountRow]) -> int:
    verdicts = count_names(rows, "verdict")
    return sum(verdicts[each] for each in _INSPECTED)


def _find_baseline(rows: Sequence[CountRow], earlier: Sequence[CountRow]) -> Baseline:
    is_own = _inspected(earlier) < MIN_REFERENCE_PARTS
    chosen = rows if is_own else earlier
    parts, rejects = _inspected(chosen), count_names(chosen, "verdict")["reject"]
    shifts = len({(row.day, row.shift) for row in chosen})
    return Baseline(parts, rejects, rejects / parts if parts else 0.0, shifts, is_own)


def chart_scores(data: ShiftData) -> tuple[ScoreTrend, ...]:
    """The scores, by product and release."""
    kinds = sorted({(row.product, row.release) for row in data.scores})
    return tuple(
        _chart_score(
            product,
            release,
            _merge([row for row in data.scores if (row.product, row.release) == (product, release)]),
            _merge([row for row in data.earlier_scores if (row.product, row.release) == (product, release)]),
        )
        for product, release in kinds
    )


def _merge(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """The rows with those of one span together, in order; they differ in the clock or the shift."""
    spans: dict[int, ScoreRow] = {}
    for row in rows:
        other = spans.get(row.start)
        spans[row.start] = (
            row
            if other is None
            else other._replace(
                parts=other.parts + row.parts,
                total=other.total + row.total,
                squares=other.squares + row.squares,
                lowest=min(other.lowest, row.lowest),
                highest=max(other.highest, row.highest),
            )
        )
    return [spans[start] for start in sorted(spans)]


def _chart_score(product: str, release: str, rows: Sequence[ScoreRow], earlier: Sequence[ScoreRow]) -> ScoreTrend:
    means = np.array([row.total / row.parts for row in rows])
    parts = np.array([row.parts for row in rows], float)
    hours = [(row.start - rows[0].start) / _HOUR for row in rows]
    points = tuple(
        ScorePoint(format_rfc3339(row.start), row.parts, float(mean), row.lowest, row.highest)
        for row, mean in zip(rows, means, strict=True)
    )
    reference, ewma = None, None
    if len(earlier) >= MIN_REFERENCE_SPANS:
        sizes, sums = np.array([row.parts for row in earlier], float), np.array([row.total for row in earlier])
        reference = float(sums.sum() / sizes.sum())
        # Means of spans scatter more than single scores would make them: the spread is measured between the spans.
        spread = float(np.sqrt((sizes * (sums / sizes - reference) ** 2).sum() / (len(earlier) - 1)))
        if spread > 0:
            normal: Increments = normal_increments()
            ewma = draw_ewma_chart((means - reference) * np.sqrt(parts) / spread, [normal] * len(rows), normal)
    return ScoreTrend(product, release, points, fit_trend(hours, means, parts), reference, ewma)
