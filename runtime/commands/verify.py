"""`vedette verify`: checks the golden outputs of a bundle, and measures its accuracy, on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from ..bundle.keys import Keyring
from ..bundle.local_recalibration import open_bundle
from ..camera import image_files
from ..errors import BundleProblem
from ..evaluation.bundle_verification import verify_bundle
from ..evaluation.camera_view import read_view
from ..evaluation.verification_report import VerificationReport
from ..progress import show_progress
from . import options


@click.command()
@options.bundle
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of test data. Anomaly model: good/ and, for the AUROC, defect/. Classifier: one folder per class. "
    "Object detector: images/ and labels/. Behaviour: recordings in normal/ and other folders.",
)
@options.view
@options.keys
@options.as_json
def verify(bundle: Path, data: Path | None, camera: str | None, folder: Path, keys: Path | None, as_json: bool) -> None:
    """Check that every back end of this machine reproduces the golden outputs of BUNDLE; with --data, measure accuracy.

    Exit code 3: a back end does not reproduce the golden outputs.
    """
    opened = open_bundle(bundle, Keyring.read(keys))
    view = read_view(opened.manifest, folder, camera)
    with image_files.black_zones(view.zones):
        report = verify_bundle(opened, data, show_progress, view.region)
    if as_json:
        options.print_json(report)
    else:
        _print_report(report)
    if not report.verified:
        failed = ", ".join(golden.version for golden in report.golden.values() if not golden.reproduced)
        hint = "install another version of the back end, or select another one with backend = in cameras/NAME.toml"
        raise BundleProblem(f"{bundle}: golden outputs are not reproduced by {failed}", hint=hint)


def _print_report(report: VerificationReport) -> None:
    click.echo(f"{report.bundle}: signature and digests verified, model {report.model}")
    for name, golden in report.golden.items():
        verdict = "reproduced" if golden.reproduced else "NOT reproduced"
        steps = f"{golden.max_steps} step{'' if golden.max_steps == 1 else 's'}"
        click.echo(f"  {name:7} {golden.version:22} golden outputs {verdict}, largest difference {steps}")
    for name, reason in report.not_run.items():
        click.echo(f"  {name:7} not run here: {reason}")
    for name, rate in report.false_alarm_rate.items():
        kinds = ("good", "defective") if report.what == "images" else (f"normal {report.what}", "others")
        text = f"  {name:7} false alarms {rate:.1%} of {report.good} {kinds[0]}"
        if report.defect:
            low, high = report.auroc_interval[name]
            area = report.metric("auroc", name)
            text += f", detected {report.detection_rate[name]:.1%} of {report.defect} {kinds[1]}, "
            text += f"AUROC {area:.4f} ({low:.3f} … {high:.3f})"
        click.echo(text)
    for name, check in report.p_values.items():
        text = f"  {name:7} p-values: {check.share:.1%} of the good images have one of at most {check.level:g}"
        text += f" ({check.interval[0]:.1%} … {check.interval[1]:.1%})"
        if check.defect_median is not None:
            text += f"; 1 in {1 / check.defect_median:,.0f} good parts looks like the median defective one"
        click.echo(text)
    for name, share in report.coverage.items():
        low, high = report.accuracy_interval[name]
        text = f"  {name:7} accuracy {report.metric('accuracy', name):.4f} ({low:.3f} … {high:.3f})"
        text += f", ECE {report.ece[name]:.4f}, answered {share:.1%} of {sum(report.images.values())} images"
        if name in report.accuracy_answered:
            text += f", {report.accuracy_answered[name]:.1%} of them correct"
        click.echo(text)
    for name, value in report.map.items():
        text = f"  {name:11} mAP50 {report.metric('map50', name.removeprefix('int8_')):.4f}, mAP {value:.4f}"
        click.echo(f"{text}, {report.objects} objects in {report.pictures} images")
    if report.map and report.map50_float is None:
        click.echo("  No float model beside the bundle: the accuracy loss of int8 is not measured.")
    if report.good or report.images or report.pictures:
        click.echo(f"  The figures are too optimistic if the bundle was built from these {report.what}.")
