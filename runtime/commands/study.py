"""`vedette study`: an attribute study, the gauge R&R of a gauge that says good or bad."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ..atomic_file import write_atomically
from ..bundle.keys import Keyring
from ..bundle.local_recalibration import open_bundle
from ..camera import image_files
from ..camera.privacy_warnings import fitted_zones
from ..config.toml_file import read_toml
from ..errors import ConfigProblem
from ..evaluation.study_decisions import COLUMNS, judge_pictures, read_decisions
from ..progress import show_progress
from ..reports.report_template import format_interval, format_kappa, format_percent, render_report
from ..statistics.attribute_study import Decision, Share, StudyResult, analyze_study
from ..statistics.kappa import Kappa
from ..statistics.study_limits import StudyLimits
from . import options

_HINT = "choose another folder"


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--bundle", type=click.Path(path_type=Path), help="Bundle that judges the pictures of the folder DATA.")
@click.option("--accept", multiple=True, help="Classifiers: a class of good parts; may be given several times.")
@click.option("--limits", type=click.Path(path_type=Path), help="TOML file with other limits than AIAG's.")
@click.option("--html", type=click.Path(path_type=Path), help="Write the result as a page.")
@click.option("--csv", "table", type=click.Path(path_type=Path), help="Write the decisions as a table.")
@options.keys
@options.as_json
def study(
    data: Path,
    bundle: Path | None,
    accept: tuple[str, ...],
    limits: Path | None,
    html: Path | None,
    table: Path | None,
    keys: Path | None,
    as_json: bool,
) -> None:
    """Judge a gauge that says good or bad, from repeated decisions about parts whose truth is known.

    DATA is a CSV file with the columns part, reference, appraiser, trial, decision; or, with --bundle, a folder with
    repeated pictures: good/PART/*.png and defect/PART/*.png, or PART/LOOK/*.png for each light and position.

    Exit code 1: the gauge is rejected.
    """
    chosen = StudyLimits() if limits is None else read_toml(limits, StudyLimits, "docs/line-statistics.md")
    if data.is_dir():
        if bundle is None:
            raise ConfigProblem(f"{data} is a folder, and nothing says what judges it", hint="name --bundle")
        opened = open_bundle(bundle, Keyring.read(keys))
        with image_files.black_zones(fitted_zones(opened.manifest)):
            decisions = judge_pictures(opened, data, accept, show_progress)
    else:
        if bundle is not None or accept:
            raise ConfigProblem("--bundle and --accept judge a folder of pictures", hint="name a folder as DATA")
        decisions = read_decisions(data)
    result = analyze_study(decisions, chosen)
    if table is not None:
        write_atomically(table, _encode_table(decisions), _HINT)
    if html is not None:
        write_atomically(html, render_report("study.html", name=data.stem, study=result), _HINT)
    if as_json:
        options.print_json(result)
    else:
        _print_result(result)
    if result.judgement == "reject":
        sys.exit(1)


def _encode_table(decisions: Sequence[Decision]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in decisions:
        writer.writerow((each.part, int(each.reference), each.appraiser, each.trial, int(each.accepted)))
    return text.getvalue().encode()


def _print_result(study: StudyResult) -> None:
    click.echo(f"{study.judgement}: {study.parts} parts ({study.good} good, {study.bad} bad), {study.trials} trials")
    for each in study.appraisers:
        click.echo(f"  {each.appraiser}: {each.judgement}")
        click.echo(f"    kappa with the reference  {_describe_kappa(each.reference)}")
        if each.within is not None:
            click.echo(f"    kappa of its own trials   {_describe_kappa(each.within)}")
        figures = ("repeatability", "effectiveness", "miss", "false_alarm")
        for name, share in zip(figures, (getattr(each, name) for name in figures), strict=True):
            click.echo(f"    {name.replace('_', ' '):25} {_describe_share(share)}")
    for pair in study.pairs:
        click.echo(f"  {pair.first} and {pair.second}: kappa {_describe_kappa(pair.kappa)}")
    if study.between is not None:
        click.echo(f"  all decisions: Fleiss' kappa {_describe_kappa(study.between)}")
    click.echo(f"  all right: {_describe_share(study.effectiveness)}")
    for note in study.notes:
        click.echo(f"  note: {note}")


def _describe_kappa(kappa: Kappa) -> str:
    interval = "" if kappa.interval is None else f" ({kappa.interval[0]:.3f} … {kappa.interval[1]:.3f})"
    return format_kappa(kappa.value) + interval


def _describe_share(share: Share) -> str:
    judged = f", {share.judgement}" if share.judgement else ""
    return f"{format_percent(share.share)} ({share.hits} of {share.of}; {format_interval(share.interval)}){judged}"
