"""`vedette review`"""

from __future__ import annotations

from pathlib import Path

import click

from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.commands import options


@click.command()
@options.bundle
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of test images, as for verify: good/ and defect/, one folder per class, or images/ and labels/. "
    "Without it no model runs.",
)
@click.option("--html", type=click.Path(path_type=Path), help="Write a page to this file.")
@options.keys
@options.as_json
def review(bundle: Path, data: Path | None, html: Path | None, keys: Path | None, as_json: bool) -> None:
    """Review the security of BUNDLE: what its files hold, whether int8 does what float does not, and how it fails.

    The comparison with float needs the file NAME.float.onnx of the build beside the bundle. Exits 1 if a finding is of
    severity high.
    """
    from vedette.runtime.bundle.bundle import Bundle

    from ..export import bundle_writer
    from ..report.html_report import render_review
    from ..review.bundle_review import review_bundle

    if html is not None:
        bundle_writer.check_output_folder(html.parent)
    opened = Bundle.open(bundle, Keyring.read(keys))
    found = review_bundle(opened, data)
    if html is not None:
        bundle_writer.write_output(html, render_review(found))
    if as_json:
        options.print_json(found.to_json())
    else:
        for finding in found.findings:
            click.echo(f"{finding.severity:7} {finding.check:13} {finding.what}")
            for label, text in (("", finding.evidence), ("remedy: ", finding.remedy)):
                if text and text != "nothing":
                    click.echo(f"{'':21} {label}{text}")
        click.echo(f"{len(found.findings)} findings, the most severe one {found.severity}; {found.seconds:.0f} s")
        if html is not None:
            click.echo(f"report  {html}")
    if found.severity == "high":
        raise SystemExit(1)
