"""`vedette doctor`: checks this machine."""

from __future__ import annotations

from pathlib import Path

import click

from ..monitoring.doctor_checks import run_checks
from . import options


@click.command()
@click.argument("camera", required=False)
@click.option(
    "--config",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder with vedette.toml; the broker and CAMERA are checked too. [default: /etc/vedette if it exists]",
)
@options.as_json
def doctor(camera: str | None, folder: Path | None, as_json: bool) -> None:
    """Check this machine: hardware, back ends, and whether the broker and CAMERA answer.

    Exit code 1: a check failed.
    """
    findings = run_checks(folder, camera)
    if as_json:
        options.print_json(findings)
    else:
        for finding in findings:
            click.echo(f"{_MARKS[finding.works]:4} {finding.what:12} {finding.found}")
            if finding.remedy:
                click.echo(f"     {'':12} remedy: {finding.remedy}")
    if any(finding.works is False for finding in findings):
        raise SystemExit(1)


_MARKS: dict[bool | None, str] = {True: "ok", False: "FAIL", None: "-"}
