"""The page of a shift's report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from ..events.part_rejects import RejectedPart
from ..evidence.reviews import Review
from ..statistics.ewma_chart import EwmaChart
from ..statistics.shift_calendar import ShiftCalendar
from .chart_lines import ChartLines, draw_lines
from .product_charts import ProductChart, ScoreTrend
from .reject_pictures import PictureRules, RejectPictures
from .report_template import render_report
from .shift_data import ShiftData
from .shift_report import ShiftReport

SHOWN_REJECTS, MOST_SHOWN_REJECTS = 20, 100
"""Rejected parts on the page, by default and at most; each adds up to 180 kB (reject_pictures.py)."""
_NO_PICTURES = RejectPictures(missing=("no pictures: the report was made without them",))


class RejectCard(msgspec.Struct, frozen=True):
    """A rejected part on the page."""

    part: RejectedPart
    decided: str
    """Time of the verdict, by the device's wall clock."""
    review: Review | None
    pictures: RejectPictures


def render_shift(data: ShiftData, report: ShiftReport, rules: PictureRules | None, shown: int = SHOWN_REJECTS) -> bytes:
    """The page, self-contained; times as the device's wall clock shows them.

    Args:
        data: of the shift
        report: the same, evaluated
        rules: which pictures may be shown; None: none
        shown: rejected parts on the page

    Raises:
        MachineProblem: Jinja is not installed.
    """
    calendar = data.calendar
    products = [(each, *_draw_product(each, calendar)) for each in report.products]
    scores = [(each, _draw_score(each, calendar), _draw_score_ewma(each, calendar)) for each in report.scores]
    ends = (report.numbers.begins, report.numbers.ends)
    span = " to ".join(_local(each, calendar, "%Y-%m-%d %H:%M") for each in ends)
    cards = [
        RejectCard(
            each,
            _local(each.verdict.decided, calendar, "%H:%M:%S"),
            data.reviews.get(each.event),
            _NO_PICTURES if rules is None else rules.read_pictures(each.event),
        )
        for each in report.rejects[:shown]
    ]
    return render_report("shift.html", report=report, products=products, scores=scores, span=span, cards=cards)


def _draw_product(chart: ProductChart, calendar: ShiftCalendar) -> tuple[ChartLines, ChartLines | None]:
    times = _clock_times(chart.begins, calendar)
    points = chart.p_chart.points
    shares = draw_lines(
        times,
        [each.share for each in points],
        ([each.low for each in points], [each.high for each in points]),
        chart.p_chart.center,
        [each.signal for each in points],
        as_percent=True,
    )
    return shares, None if chart.ewma is None else _draw_ewma(times, chart.ewma)


def _draw_ewma(times: Sequence[str], chart: EwmaChart) -> ChartLines:
    limits = [-chart.bound] * len(times), [chart.bound] * len(times)
    return draw_lines(times, chart.averages, limits, 0.0, chart.signals)


def _draw_score(trend: ScoreTrend, calendar: ShiftCalendar) -> ChartLines:
    times = _clock_times([each.begins for each in trend.points], calendar)
    values = [each.mean for each in trend.points]
    return draw_lines(times, values, None, trend.reference, [False] * len(values))


def _draw_score_ewma(trend: ScoreTrend, calendar: ShiftCalendar) -> ChartLines | None:
    if trend.ewma is None:
        return None
    return _draw_ewma(_clock_times([each.begins for each in trend.points], calendar), trend.ewma)


def _clock_times(moments: Sequence[str], calendar: ShiftCalendar) -> list[str]:
    return [_local(each, calendar, "%H:%M") for each in moments]


def _local(moment: str, calendar: ShiftCalendar, form: str) -> str:
    return datetime.fromisoformat(moment).astimezone(calendar.zone).strftime(form)
