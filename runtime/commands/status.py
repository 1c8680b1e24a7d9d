"""`vedette status`: prints the status of the daemons."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from ..config import configuration
from ..errors import ConfigProblem
from ..evaluation.h264_baseline import with_h264_share
from ..line.line_figures import LineFigures, VerdictCounts
from ..monitoring.status import StatusReport, request_status
from ..socket_access import GROUP
from . import options

log = logging.getLogger(__name__)

DENIED = (
    f"this user may not ask whether it runs; ask as root (sudo), or become a member of the group {GROUP} "
    f"(sudo usermod -aG {GROUP} $USER) and log in again"
)


@click.command()
@click.argument("camera", required=False)
@options.config
@options.as_json
def status(camera: str | None, folder: Path, as_json: bool) -> None:
    """Print the status of the daemon of CAMERA, or of all cameras.

    Exit code 4: a daemon is not running or does not answer.
    """
    denied: list[str] = []
    reports = request_statuses(folder, camera, denied.append)
    if as_json:
        answers: list[StatusReport | dict[str, str]] = []
        for name, report in reports.items():
            answers.append(report or {"camera": name} | ({"denied": DENIED} if name in denied else {}))
        click.echo(msgspec.json.encode(answers).decode())
    else:
        for name, report in reports.items():
            if name in denied:
                click.echo(f"{name}: {DENIED}")
            else:
                _print_report(name, report)
    if None in reports.values():
        sys.exit(4)


def _log_denied(camera: str) -> None:
    log.warning("%s: %s", camera, DENIED)


def request_statuses(
    folder: Path, camera: str | None, on_denied: Callable[[str], None] = _log_denied
) -> dict[str, StatusReport | None]:
    """Status reports by camera name, of one camera or of all; None for a daemon that is not running.

    Args:
        folder: with vedette.toml
        camera: the camera; None: all
        on_denied: called with the name of a camera whose daemon this user may not ask; its report is None, too

    Raises:
        ConfigProblem: no camera is configured, or the configuration of one is wrong.
    """
    cameras = [camera] if camera else configuration.camera_names(folder)
    if not cameras:
        raise ConfigProblem(f"no cameras in {folder / 'cameras'}", hint="write cameras/NAME.toml, or name --config")
    reports: dict[str, StatusReport | None] = {}
    for name in cameras:
        state_folder = configuration.load_config(folder, name).state_folder
        reports[name] = None
        try:
            if (report := request_status(state_folder)) is not None:
                reports[name] = with_h264_share(report, state_folder)
        except PermissionError:
            on_denied(name)
    return reports


def _print_report(name: str, report: StatusReport | None) -> None:
    if report is None:
        click.echo(f"{name}: not running")
        return
    rate = "-" if report.frames_per_second is None else f"{report.frames_per_second:.1f}"
    latency = " ".join(f"{share} {value:.1f}" for share, value in report.latency_ms.items()) or "-"
    temperature = "unknown" if report.temperature is None else f"{report.temperature:.0f} °C"
    last = report.last_event
    click.echo(f"{name}: {'; '.join(report.faults) or 'no faults'}")
    click.echo(f"  model       {report.model} on {report.backend}")
    if report.probation is not None:
        click.echo(f"  probation   {report.probation}")
    if report.recalibration is not None:
        click.echo(f"  recalibrated: {report.recalibration}")
    if (drift := report.drift) is not None and drift.samples:
        verdict = "DRIFTED: recalibrate, or find out what changed" if drift.drifted else "no drift shown"
        shares = f"{drift.share_above:.0%} above and {drift.share_below:.0%} below the band of the build"
        click.echo(f"  scores      {shares} (usual: 10% each), {drift.samples} samples; {verdict}")
    click.echo(f"  running     {report.uptime_seconds:.0f} s, {report.frames} frames, {rate} per second")
    click.echo(f"  latency     {latency} ms")
    duty = "-" if report.duty is None else f"{report.duty:.0%}"
    click.echo(f"  inference   {report.inferences} frames, {report.skipped} skipped, {duty} of the time")
    if report.line is not None:
        _print_line(report.line)
    click.echo(f"  events      {report.events}, {report.backlog} waiting, {report.dead} dead letters")
    for sink in report.sinks:
        state = sink.trouble or "takes events"
        counts = f"{sink.delivered} delivered, {sink.backlog} waiting, {sink.dead} dead letters"
        click.echo(f"  sink        {sink.name}: {state}; {counts}")
    click.echo(f"  last        {'none' if last is None else f'{last.sequence}, {last.type}, {last.time}'}")
    share = "" if report.of_h264 is None else f", {report.of_h264:.3%} of the same stream as H.264"
    click.echo(f"  published   {report.published} bytes{share}")
    if (evidence := report.evidence) is not None:
        counts = f"{evidence.files} files, {evidence.bytes} bytes, {evidence.waiting} waiting, {evidence.lost} lost"
        fault = evidence.unwritable or evidence.trouble
        click.echo(f"  evidence    {counts}{f'; {fault}' if fault else ''}")
    if (frames := report.pictures) is not None:
        counts = f"{frames.dropped} dropped, {frames.late} late, {frames.restarts} restarts"
        counts += f", {frames.unstamped} without a time of exposure" if frames.unstamped else ""
        click.echo(f"  camera      {counts}{f'; {frames.trouble}' if frames.trouble else ''}")
    slow = f", frame interval x {report.slowness:g} to limit heat" if report.slowness > 1 else ""
    flags = "unknown" if report.throttled is None else ", ".join(report.throttled) or "none"
    click.echo(f"  machine     {report.memory_mb:.0f} MB, {temperature}, throttling {flags}{slow}")


def _print_line(line: LineFigures) -> None:
    latency = ", ".join(f"{share} {value:.1f}" for share, value in line.latency_ms.items()) or "-"
    counts = f"{_describe_counts(line.verdicts)}; {line.unfinished} in flight"
    click.echo(f"  parts       {counts}; to the verdict {latency} ms")
    if (golden := line.golden) is not None:
        lock = f"LOCKED ({golden.lock}); vedette golden-part --show CAMERA" if golden.lock else "passed"
        click.echo(f"  references  {lock}")
    if len(line.products) > 1:
        click.echo(f"  product     {line.product}")
        for each in line.products:
            release = f"release {each.release}" if each.release else "NOT LOADED"
            drift = "; its scores have DRIFTED" if each.drift is not None and each.drift.drifted else ""
            click.echo(f"    {each.index:5}  {each.name}: {release}; {_describe_counts(each.verdicts)}{drift}")


def _describe_counts(counts: VerdictCounts) -> str:
    return f"{counts.accept} accept, {counts.warn} warn, {counts.reject} reject, {counts.error} error"
