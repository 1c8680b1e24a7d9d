"""`vedette report`: the report of a shift, and its counters as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..atomic_file import write_atomically
from ..config.configuration import load_config
from ..errors import ConfigProblem
from ..events.part_count_tables import read_counts
from ..events.part_rejects import RejectedPart
from ..events.part_stats import PartNumbers
from ..reports.count_export import encode_csv, encode_parquet, list_records
from ..reports.reject_pictures import PictureRules
from ..reports.report_template import format_interval, format_percent
from ..reports.shift_data import open_counters, read_shift
from ..reports.shift_page import MOST_SHOWN_REJECTS, SHOWN_REJECTS, render_shift
from ..reports.shift_report import ShiftReport, make_shift_report
from ..statistics.shift_calendar import ShiftCalendar
from . import options

_HINT = "choose another folder"
_PRINTED_REJECTS = 3


@click.group()
def report() -> None:
    """Report a shift: parts, yield, rejects, control charts."""


@report.command()
@click.argument("camera")
@options.config
@click.option("--day", help="Day on which the shift begins, as 2026-11-29. [default: the newest with a part]")
@click.option("--shift", "name", help="Name of the shift. [default: the last one of the day with a part]")
@click.option("--html", type=click.Path(path_type=Path), help="Write the report as a page.")
@click.option(
    "--rejects",
    "shown",
    type=click.IntRange(0, MOST_SHOWN_REJECTS),
    default=SHOWN_REJECTS,
    show_default=True,
    help="Rejected parts on the page, the worst first.",
)
@click.option("--without-pictures", is_flag=True, help="Keep pictures of parts out of the page.")
@options.as_json
def shift(
    camera: str,
    folder: Path,
    day: str | None,
    name: str | None,
    html: Path | None,
    shown: int,
    without_pictures: bool,
    as_json: bool,
) -> None:
    """Report the newest shift of CAMERA, or another one."""
    settings = load_config(folder, camera)
    data = read_shift(settings, day, name)
    result = make_shift_report(data)
    if html is not None:
        rules = None if without_pictures else PictureRules(settings)
        write_atomically(html, render_shift(data, result, rules, shown), _HINT)
    if as_json:
        options.print_json(result)
    else:
        _print_report(result)


@report.command()
@click.argument("camera")
@options.config
@click.option("--csv", "table", type=click.Path(path_type=Path), help="Write the counters as CSV.")
@click.option("--parquet", type=click.Path(path_type=Path), help="Write the counters as Parquet; needs pyarrow.")
@click.option("--from", "first", default="", help="First day, as 2026-11-29. [default: the oldest]")
@click.option("--to", "last", default="9999", help="Last day. [default: the newest]")
def export(camera: str, folder: Path, table: Path | None, parquet: Path | None, first: str, last: str) -> None:
    """Write the counters of CAMERA as a table: a row for each quarter of an hour, shift, product and counter."""
    if table is None and parquet is None:
        raise ConfigProblem("nothing says where the table goes", hint="name --csv FILE or --parquet FILE")
    settings = load_config(folder, camera)
    with open_counters(settings) as database:
        rows = [row for row in read_counts(database, -float("inf"), float("inf")) if first <= row.day <= last]
    records = list_records(rows, ShiftCalendar.from_config(settings))
    for path, encode in ((table, encode_csv), (parquet, encode_parquet)):
        if path is not None:
            write_atomically(path, encode(records), _HINT)
            click.echo(f"{path}: {len(records)} rows")


def _print_report(result: ShiftReport) -> None:
    numbers = result.numbers
    click.echo(
        f"{numbers.camera}, {numbers.shift or 'between the shifts'} of {numbers.day}: {_describe(numbers.total)}"
    )
    click.echo(f"  yield             {format_percent(numbers.total.yield_)} ({format_interval(result.yield_interval)})")
    first = f"{format_percent(numbers.total.first_pass_yield)} ({format_interval(result.first_pass_interval)})"
    click.echo(f"  first-pass yield  {first}")
    for title, bars in (("region", result.regions), ("label", result.labels)):
        for bar in bars:
            click.echo(f"  reject by {title:7} {bar.parts:6}  {format_percent(bar.share)}  {bar.name}")
    for each in result.rejects[:_PRINTED_REJECTS]:
        click.echo(f"  rejected          {_describe_reject(each)}")
    for reason, count in numbers.reasons.items():
        click.echo(f"  error             {count:6}  {reason or 'without a reason'}")
    for chart in result.products:
        signals = [point.signal for point in chart.p_chart.points]
        _print_chart("p-chart", chart.product, signals, chart.p_chart.in_control_run_length)
        if chart.ewma is not None:
            _print_chart("EWMA", chart.product, chart.ewma.signals, chart.ewma.in_control_run_length)
    for score in result.scores:
        if score.trend is not None:
            shown = "a drift is shown" if score.trend.is_shown else "no drift is shown"
            click.echo(f"  score     {score.product} {score.release}: {score.trend.slope:+.3g} an hour; {shown}")
    reviews = result.reviews
    text = f"{reviews.reviewed} of {reviews.rejects} rejects reviewed, {reviews.false_rejects} of them good"
    click.echo(f"  reviews   {text}; {reviews.missed} missed")
    for note in result.notes:
        click.echo(f"  note: {note}")


def _describe_reject(rejected: RejectedPart) -> str:
    part = rejected.verdict
    score = "without a score" if part.score is None else f"score {part.score:.4g}"
    names = [name for name in (part.serial, part.product, *(each.name for each in part.regions), part.label) if name]
    return f"part {part.part}: {', '.join((score, *names))}; event {rejected.event}"


def _print_chart(kind: str, product: str, signals: Sequence[bool], run_length: float | None) -> None:
    false = "no false ones" if run_length is None else f"false ones every {run_length:.0f} samples on average"
    click.echo(f"  {kind:9} {product}: {sum(signals)} signals in {len(signals)} samples; {false}")


def _describe(numbers: PartNumbers) -> str:
    kinds = ("accept", "warn", "reject", "error")
    return f"{numbers.parts} parts, " + ", ".join(f"{getattr(numbers, kind)} {kind}" for kind in kinds)
