"""`vedette verify`"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from ..bundle.bundle import Bundle
from ..bundle.keys import Keyring
from ..errors import BundleProblem
from ..evaluation.verify import Report
from ..evaluation.verify import verify as check
from ..progress import track
from . import options


@click.command()
@options.bundle
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder with good/ and, for the AUROC, defect/; for a classifier, with one for each class; for a detector, "
    "with images/ and labels/; for behaviour, with recordings in normal/ and others.",
)
@options.keys
@options.as_json
def verify(bundle: Path, data: Path | None, keys: Path | None, as_json: bool) -> None:
    """Check that BUNDLE computes on this machine, with every back end, what it promises.

    Exits 3 where a back end does not reproduce the golden outputs.
    """
    report = check(Bundle.open(bundle, Keyring.read(keys)), data, track)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        _print(report)
    if not report.verified:
        failed = ", ".join(each.version for each in report.golden.values() if not each.reproduced)
        hint = "another version of the back end may be needed; cameras/NAME.toml can choose one with backend ="
        raise BundleProblem(f"{bundle}: golden outputs are not reproduced by {failed}", hint=hint)


def _print(report: Report) -> None:
    click.echo(f"{report.bundle}: signature and digests verified, model {report.model}")
    for name, golden in report.golden.items():
        verdict = "reproduced" if golden.reproduced else "NOT reproduced"
        steps = f"{golden.max_steps} step{'' if golden.max_steps == 1 else 's'}"
        click.echo(f"  {name:7} {golden.version:22} golden outputs {verdict}, at most {steps} apart")
    for name, rate in report.false_alarm_rate.items():
        kinds = ("good", "defective") if report.what == "images" else (f"normal {report.what}", "others")
        text = f"  {name:7} false alarms {rate:.1%} of {report.good} {kinds[0]}"
        if report.defect:
            low, high = report.auroc_interval[name]
            area = getattr(report, f"auroc_int8_{name}")
            text += f", detected {report.detection_rate[name]:.1%} of {report.defect} {kinds[1]}, "
            text += f"AUROC {area:.4f} ({low:.3f} … {high:.3f})"
        click.echo(text)
    for name, share in report.coverage.items():
        low, high = report.accuracy_interval[name]
        text = f"  {name:7} accuracy {getattr(report, f'accuracy_int8_{name}'):.4f} ({low:.3f} … {high:.3f})"
        text += f", ECE {report.ece[name]:.4f}, answered {share:.1%} of {sum(report.images.values())} images"
        if name in report.accuracy_answered:
            text += f", {report.accuracy_answered[name]:.1%} of them right"
        click.echo(text)
    for name, value in report.map.items():
        text = f"  {name:11} mAP50 {getattr(report, f'map50_{name}'):.4f}, mAP {value:.4f}"
        click.echo(f"{text}, {report.objects} objects in {report.pictures} images")
    if report.map and report.map50_float is None:
        click.echo("  The float model that it was built from is not beside the bundle, so what int8 costs is not told.")
    if report.good or report.images or report.pictures:
        click.echo(f"  {report.what.capitalize()} that the bundle was built from flatter these figures.")
