"""`vedette status`"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from ..config import configuration
from ..errors import ConfigProblem
from ..evaluation.h264_baseline import compared
from ..monitoring.status import Report, ask
from . import options


@click.command()
@click.argument("camera", required=False)
@options.config
@options.as_json
def status(camera: str | None, folder: Path, as_json: bool) -> None:
    """Ask the daemon of CAMERA how it is, or those of all cameras.

    Exit code 4: one of them does not run, or does not answer.
    """
    found = asked(folder, camera)
    if as_json:
        click.echo(msgspec.json.encode([report or {"camera": name} for name, report in found.items()]).decode())
    else:
        for name, report in found.items():
            _show(name, report)
    if None in found.values():
        sys.exit(4)


def asked(folder: Path, camera: str | None) -> dict[str, Report | None]:
    """What the daemons of all cameras tell, or that of one; None: it does not run.

    Raises:
        ConfigProblem: there are no cameras, or the configuration of one is wrong.
    """
    cameras = [camera] if camera else sorted(path.stem for path in (folder / "cameras").glob("*.toml"))
    if not cameras:
        raise ConfigProblem(f"no cameras in {folder / 'cameras'}", hint="write cameras/NAME.toml, or name --config")
    found: dict[str, Report | None] = {}
    for name in cameras:
        place = configuration.load(folder, name).place
        report = ask(place)
        found[name] = compared(report, place) if report is not None else None
    return found


def _show(name: str, report: Report | None) -> None:
    if report is None:
        click.echo(f"{name}: does not run")
        return
    rate = "-" if report.frames_per_second is None else f"{report.frames_per_second:.1f}"
    latency = " ".join(f"{share} {value:.1f}" for share, value in report.latency_ms.items()) or "-"
    heat = "unknown" if report.temperature is None else f"{report.temperature:.0f} °C"
    last = report.last_event
    click.echo(f"{name}: {'; '.join(report.faults) or 'well'}")
    click.echo(f"  model       {report.model} on {report.backend}")
    click.echo(f"  running     {report.uptime_seconds:.0f} s, {report.frames} frames, {rate} a second")
    click.echo(f"  latency     {latency} ms")
    duty = "-" if report.duty is None else f"{report.duty:.0%}"
    click.echo(f"  inference   {report.inferences} frames, {report.skipped} skipped, {duty} of the time")
    click.echo(f"  events      {report.events}, {report.backlog} wait, {report.dead} dead")
    click.echo(f"  last        {'none' if last is None else f'{last.sequence}, {last.type}, {last.time}'}")
    against = "" if report.of_h264 is None else f", {report.of_h264:.3%} of the stream as H.264"
    click.echo(f"  published   {report.published} bytes{against}")
    if (kept := report.evidence) is not None:
        counted = f"{kept.files} files, {kept.bytes} bytes, {kept.waiting} wait, {kept.lost} lost"
        trouble = kept.unwritable or kept.trouble
        click.echo(f"  evidence    {counted}{f'; {trouble}' if trouble else ''}")
    if (pictures := report.pictures) is not None:
        counted = f"{pictures.dropped} dropped, {pictures.late} late, {pictures.restarts} restarts"
        click.echo(f"  camera      {counted}{f'; {pictures.trouble}' if pictures.trouble else ''}")
    slow = f", {report.slowness:g} times slower to stay cool" if report.slowness > 1 else ""
    flags = "unknown" if report.throttled is None else ", ".join(report.throttled) or "none"
    click.echo(f"  machine     {report.memory_mb:.0f} MB, {heat}, throttling {flags}{slow}")
