"""The page of a shift's report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..statistics.ewma_chart import EwmaChart
from ..statistics.shift_calendar import ShiftCalendar
from .chart_lines import ChartLines, draw_lines
from .product_charts import ProductChart, ScoreTrend
from .report_template import render_report
from .shift_report import ShiftReport


def render_shift(report: ShiftReport, calendar: ShiftCalendar) -> bytes:
    """The page, self-contained; times as the device's wall clock shows them.

    Raises:
        MachineProblem: Jinja is not installed.
    """
    products = [(each, *_draw_product(each, calendar)) for each in report.products]
    scores = [(each, _draw_score(each, calendar), _draw_score_ewma(each, calendar)) for each in report.scores]
    ends = (report.numbers.begins, report.numbers.ends)
    span = " to ".join(_local(each, calendar, "%Y-%m-%d %H:%M") for each in ends)
    return render_report("shift.html", report=report, products=products, scores=scores, span=span)


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
