"""The report of a shift: numbers with intervals, causes of rejects, control charts, the score, and the reviews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from ..events.event import format_rfc3339
from ..events.part_count_tables import CountRow
from ..events.part_rejects import RejectedPart
from ..events.part_stats import PartStats, count_names, group, make_part_stats
from ..statistics.exact_interval import Interval, exact_interval
from .product_charts import ProductChart, ScoreTrend, chart_products, chart_scores
from .shift_data import ShiftData


class ParetoBar(msgspec.Struct, frozen=True):
    """A cause of rejects."""

    name: str
    parts: int
    share: float
    """Of all rejected parts. A part may have several causes, so that the shares may add up to more than 1."""
    interval: Interval | None
    cumulative: float
    """Of all mentions of causes, this one and those before it."""


class ReviewSummary(msgspec.Struct, frozen=True):
    """What reviewers said about the parts of the shift that were not accepted."""

    rejects: int
    reviewed: int
    """Rejected parts that were reviewed."""
    false_rejects: int
    """Rejected parts that a reviewer calls good."""
    false_reject_share: float | None
    """Of the reviewed ones; those were not drawn by chance, so for all rejects it is a hint only."""
    interval: Interval | None
    warnings_reviewed: int
    """Parts with the verdict `warn` that were reviewed."""
    warnings_good: int
    missed: int
    """Events in the time of the shift that a reviewer calls missed."""
    labels: dict[str, int]
    """Labels that reviewers gave."""


class ShiftReport(msgspec.Struct, frozen=True):
    """The report of a shift."""

    numbers: PartStats
    yield_interval: Interval | None
    first_pass_interval: Interval | None
    regions: tuple[ParetoBar, ...]
    labels: tuple[ParetoBar, ...]
    products: tuple[ProductChart, ...]
    scores: tuple[ScoreTrend, ...]
    reviews: ReviewSummary
    notes: tuple[str, ...]
    rejects: tuple[RejectedPart, ...] = ()
    """Those whose facts are kept, the worst of each product and release first."""


def make_shift_report(data: ShiftData) -> ShiftReport:
    """The report of a shift."""
    numbers = make_part_stats(data.camera, data.shift, data.counts, data.calendar)
    total, fresh = numbers.total, count_names(data.counts, "first")
    products = chart_products(data)
    scores = chart_scores(data)
    return ShiftReport(
        numbers=numbers,
        yield_interval=exact_interval(total.accept, total.parts),
        first_pass_interval=exact_interval(fresh["accept"], sum(fresh.values())),
        regions=draw_pareto(data.counts, "region", total.reject),
        labels=draw_pareto(data.counts, "label", total.reject),
        products=products,
        scores=scores,
        reviews=summarize_reviews(data),
        notes=tuple(_list_notes(data, products)),
        rejects=data.rejects,
    )


def draw_pareto(rows: Sequence[CountRow], what: str, rejects: int) -> tuple[ParetoBar, ...]:
    """The causes of rejects, the most frequent first.

    Args:
        rows: of the counters
        what: `region` or `label`
        rejects: number of rejected parts
    """
    causes, bars, so_far = count_names(rows, what), list[ParetoBar](), 0
    mentions = sum(causes.values())
    for name, parts in causes.items():
        so_far += parts
        share, interval = parts / max(rejects, 1), exact_interval(parts, rejects)
        bars.append(ParetoBar(name, parts, share, interval, so_far / mentions))
    return tuple(bars)


def summarize_reviews(data: ShiftData) -> ReviewSummary:
    """The reviews of the parts of a shift."""
    outcomes: Counter[tuple[str, str]] = Counter()
    labels: Counter[str] = Counter()
    for part in data.ids:
        if (review := data.reviews.get(part.id)) is not None:
            outcomes[part.verdict, review.verdict] += 1
            labels.update([review.label] if review.label else [])
    reviewed = sum(number for (verdict, _), number in outcomes.items() if verdict == "reject")
    false = outcomes["reject", "false_alarm"]
    during = (each for each in data.reviews.values() if data.shift.begins <= _made_at(each.event) < data.shift.ends)
    return ReviewSummary(
        rejects=count_names(data.counts, "verdict")["reject"],
        reviewed=reviewed,
        false_rejects=false,
        false_reject_share=false / reviewed if reviewed else None,
        interval=exact_interval(false, reviewed),
        warnings_reviewed=sum(number for (verdict, _), number in outcomes.items() if verdict == "warn"),
        warnings_good=outcomes["warn", "false_alarm"],
        missed=sum(each.verdict == "missed" for each in during),
        labels=dict(sorted(labels.items(), key=lambda item: (-item[1], item[0]))),
    )


def _made_at(event: str) -> float:
    """When an event was made: a UUIDv7 begins with the milliseconds since 1970."""
    return int(event.replace("-", "")[:12], 16) / 1000


def _list_notes(data: ShiftData, products: Iterable[ProductChart]) -> Iterable[str]:
    unset = sum(row.parts for row in data.counts if row.clock and row.what == "verdict")
    if unset:
        yield f"{unset} parts were counted by a clock that was not known to be synchronized"
    if len(group(data.counts, lambda row: row.product)) > 1:
        yield "products have charts of their own: their shares of rejects differ without any cause"
    for each in products:
        if each.baseline.is_own:
            name = each.product or "parts"
            yield (
                f"{name}: too few parts in earlier shifts; the charts compare the shift with itself: "
                "they show unevenness within it and no change from before"
            )
    end = data.counts[-1].start
    if end < data.shift.ends - 3600:
        yield f"the last part was counted about {format_rfc3339(end)}"
