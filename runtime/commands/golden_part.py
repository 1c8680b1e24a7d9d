"""`vedette golden-part`: reference parts prove the inspection before the line runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click

from ..config.configuration import Config, load_config
from ..errors import ConfigProblem, MachineProblem
from ..events.golden_parts import GoldenPart
from ..line.golden_messages import GoldenCommand, GoldenStatus
from ..line.line_control import send_command
from ..socket_access import GROUP
from . import options

_PAUSE = 0.1
_FAILED = 1


@click.command("golden-part")
@click.argument("camera")
@click.option("--acknowledge", is_flag=True, help="Acknowledge what failed or was overdue; then check again.")
@click.option("--show", is_flag=True, help="Print how it is, and do nothing.")
@click.option("--by", default="", metavar="NAME", help="Who does so. [default: this user]")
@click.option("--seconds", default=900.0, show_default=True, type=click.FloatRange(1, 86400), help="Longest wait.")
@options.config
@options.as_json
def golden_part(
    camera: str, acknowledge: bool, show: bool, by: str, seconds: float, folder: Path, as_json: bool
) -> None:
    """Check the inspection at CAMERA with reference parts: the next parts are these, first the good, then the bad ones.

    With serial numbers in [golden_parts] the parts may come in any order. Exit code 1: a part was judged wrong, or the
    parts did not come.
    """
    if acknowledge and show:
        raise click.UsageError("give --acknowledge or --show, not both")
    settings = load_config(folder, camera)
    if settings.golden_parts is None:
        hint = "write it into the file; docs/golden-parts.md shows one"
        raise ConfigProblem(f"{settings.camera_file}: no table [golden_parts]", hint=hint)
    command = GoldenCommand("acknowledge" if acknowledge else "show" if show else "begin", by)
    status = _send(settings, command)
    if command.action == "begin":
        if not as_json:
            golden = settings.golden_parts
            how = "with the listed serial numbers" if golden.serials else "next"
            click.echo(f"{status.product}: {golden.count('good')} good and {golden.count('bad')} bad parts {how}")
        status = watch_check(status, lambda: _send(settings, GoldenCommand("show")), seconds, quiet=as_json)
    end_command(command, status, camera, as_json)


def end_command(command: GoldenCommand, status: GoldenStatus, name: str, as_json: bool) -> None:
    """Prints how it is after a command; exit code 1: the check that it began has not passed."""
    if as_json:
        options.print_json(status)
    else:
        click.echo(_describe(status, name))
    if status.outcome != "passed" and command.action == "begin":
        raise SystemExit(_FAILED)


def _send(settings: Config, command: GoldenCommand) -> GoldenStatus:
    try:
        status = send_command(settings.state_folder, command)
    except PermissionError:
        hint = f"become a member of the group {GROUP}, or run the command as root (sudo)"
        raise MachineProblem(f"{settings.camera}: this user may not command its daemon", hint=hint) from None
    if status is None:
        raise MachineProblem(f"{settings.camera}: its daemon is not running", hint="start it, or see vedette status")
    if status.error:
        raise ConfigProblem(f"{settings.camera}: {status.error}", hint="vedette golden-part --show says how it is")
    return status


def watch_check(status: GoldenStatus, ask: Callable[[], GoldenStatus], seconds: float, quiet: bool) -> GoldenStatus:
    """Waits for the end of a check, and prints each part that was judged.

    Args:
        status: after its beginning
        ask: asks how it is
        seconds: longest wait
        quiet: print nothing
    """
    told: set[str] = set()
    until, product = time.monotonic() + seconds, status.product
    while True:
        for part in status.parts:
            if part.part not in told and not quiet:
                click.echo(_describe_part(part))
            told.add(part.part)
        if status.outcome or time.monotonic() > until or status.product != product:
            return status
        time.sleep(_PAUSE)
        status = ask()


def _describe_part(part: GoldenPart) -> str:
    name = f"part {part.part}{f' ({part.serial})' if part.serial else ''}"
    reason = f" ({part.reason})" if part.reason else ""
    score = "" if part.score is None else f", score {part.score:.4g}"
    return f"  {name}: known {part.expected}, {part.verdict}{reason}{score}: {'right' if part.is_right else 'WRONG'}"


def _describe(status: GoldenStatus, camera: str) -> str:
    words = {"": "the references are not complete", "passed": "passed", "failed": "FAILED"}
    lines = [f"{status.product}: {words[status.outcome]}"] if status.outcome or status.awaited is not None else []
    if not status.lock:
        left = [] if status.parts_left is None else [f"{status.parts_left} parts"]
        left += [] if status.seconds_left is None else [f"{status.seconds_left / 3600:.1f} h"]
        due = f"; due again within {' or '.join(left)}" if left else ""
        return "\n".join([*lines, f"{status.product}: the line may run{due}"])
    lines.append(f"{status.product}: the output is locked ({status.lock})")
    if status.unacknowledged:
        lines.append(f"  to do: find the cause, then vedette golden-part {camera} --acknowledge")
    if status.due:
        lines.append(f"  to do: let the references pass (due: {status.due}): vedette golden-part {camera}")
    return "\n".join(lines)
