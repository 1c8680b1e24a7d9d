"""The command line: `vedette` and its subcommands.

The module of a subcommand is imported when the subcommand is used, so that the daemon never loads the workshop
(`vedette.compress`) and `--help` loads neither.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from .distribution import install_command, installed_version
from .errors import MachineProblem, Problem
from .redaction import redact

DEVICE_COMMANDS = {
    "run": "run the daemon of one camera and send its events",
    "verify": "check that a bundle gives its golden outputs on this machine",
    "recalibrate": "set the threshold anew from good images of this place",
    "study": "judge the inspection as a gauge: repeatability, kappa, escapes, false alarms",
    "show": "print the manifest of a bundle",
    "install": "install a bundle, on probation beside the release before it",
    "rollback": "go back to the release before, or to the last good configuration",
    "models": "list the installed models",
    "keys": "list, trust, limit and revoke the keys that sign bundles",
    "doctor": "check the hardware, the back ends, the broker and the cameras",
    "status": "print the status of the daemons",
    "masks": "confirm the view for which the privacy masks of a camera hold",
    "golden-part": "check the inspection of a line with reference parts; acknowledge a failure",
    "page": "show this device in a browser: live picture, events and health",
    "metrics": "print or serve the status as Prometheus metrics",
    "report": "report a shift: parts, yield, rejects, control charts; or export the counters",
    "find": "find events, pictures and clips of this box by rule, time, label and zone",
    "outbox": "inspect the outbox of a camera, and replay delivered events",
    "traffic": "compare the bytes that a camera publishes with H.264 video",
    "bench": "measure time and memory of a bundle on this machine",
}
DEPLOY_COMMANDS: dict[str, str] = {
    "setup": "set this box up: device, broker, camera, bundle",
    "configure": "replace the file of a camera; the present one is kept, and comes back if the new one fails",
    "ca": "issue, renew and revoke certificates of a broker and its boxes",
    "provision": "write the cards of many boxes and the files of their broker",
    "fleet": "list the boxes at a broker, and roll releases and configurations out to them in rings",
    "feedback": "fetch judged events and their pictures from a box, to learn from",
    "sparkplug": "show the cameras at a broker to a SCADA system, as devices of a Sparkplug B edge node",
}
WORKSHOP_COMMANDS = {
    "audit": "find unreadable, duplicate, blurred and mislabeled images",
    "build": "build a bundle from images and a goal file",
    "review": "review the security of a bundle",
    "studio": "work on a folder of images in a browser: audit, marks, goal, build, releases",
    "keygen": "generate a key pair for signing bundles",
    "demo": "build a bundle from real images, run it, and show the events",
}


VERBS_OF_DAEMONS = ("run", "page")
"""Verbs that log what goes on; the others print what they do, and log warnings only."""
INTERRUPTED_EXIT_CODE = 130  # 128 + SIGINT, as in a shell


class _CommandGroup(click.Group):
    """Loads subcommands by name: subcommand `run` is the attribute `run` of the module `run`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*DEVICE_COMMANDS, *DEPLOY_COMMANDS, *WORKSHOP_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in DEVICE_COMMANDS:
            place = "vedette.runtime.commands"
            if cmd_name == "run":  # a request to reload waits until the daemon runs; it would end this process before
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        elif cmd_name in DEPLOY_COMMANDS:
            place = "vedette.deploy.commands"
        elif cmd_name in WORKSHOP_COMMANDS:
            place = "vedette.compress.commands"
        else:
            return None
        try:
            module = import_module(f"{place}.{cmd_name.replace('-', '_')}")
        except ModuleNotFoundError as error:
            raise _explain_missing_package(cmd_name, error) from None
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:  # commands import heavy packages when they run
            raise _explain_missing_package(ctx.invoked_subcommand or "", error) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = {
            "On the device": DEVICE_COMMANDS,
            "Set-up and delivery": DEPLOY_COMMANDS,
            "In the workshop": WORKSHOP_COMMANDS,
        }
        for title, verbs in sections.items():
            if not verbs:
                continue
            with formatter.section(title):
                formatter.write_dl(list(verbs.items()))


def _explain_missing_package(command: str, error: ModuleNotFoundError) -> Exception:
    """The error to raise if a package is missing: for a workshop command, it states what to install."""
    if command not in WORKSHOP_COMMANDS or (error.name or "").startswith("vedette"):
        return error
    hint = install_command("compress")
    return MachineProblem(f"{command} needs the workshop, and {error.name} is missing", hint=hint)


def _print_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"vedette {installed_version()}")
        ctx.exit()


@click.group(cls=_CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.pass_context
def vedette(ctx: click.Context) -> None:
    """Vedette compresses vision models and runs them on edge devices.

    The workshop commands build a signed bundle from images. The device commands run it on a camera and publish events.
    A vedette is a mounted sentry who watches ahead of the line and reports only what matters.
    """
    _log_to_stderr(logging.INFO if ctx.invoked_subcommand in VERBS_OF_DAEMONS else logging.WARNING)


class _JournalPriority(logging.Formatter):
    """Starts each line with its syslog priority, for the systemd journal; the journal adds the time."""

    LEVELS = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in self.LEVELS if record.levelno >= level), 7)
        return f"<{priority}>{super().format(record)}"


class _WithoutPasswords(logging.Filter):
    """Takes passwords out of log lines, whoever wrote them."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True


def _log_to_stderr(level: int) -> None:
    handler = logging.StreamHandler()
    handler.addFilter(_WithoutPasswords())
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_JournalPriority("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    root = logging.getLogger("vedette")
    root.handlers = [handler]
    root.setLevel(level)


def main(arguments: list[str] | None = None) -> Any:
    """The entry point. Prints the message and the hint of a Problem, and exits with its code."""
    try:
        return vedette.main(arguments, prog_name="vedette", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("vedette: interrupted", err=True)
        sys.exit(INTERRUPTED_EXIT_CODE)
    except Problem as problem:
        _exit_with(problem)
    except PermissionError as error:
        hint = "run the command as root (sudo), or as the user to whom the file belongs"
        _exit_with(MachineProblem(f"{error.filename or 'a file'}: this user has no permission", hint=hint))


def _exit_with(problem: Problem) -> NoReturn:
    click.echo(f"vedette: {redact(problem.message)}", err=True)
    if problem.hint:
        click.echo(f"  remedy: {redact(problem.hint)}", err=True)
    sys.exit(problem.code)


if __name__ == "__main__":
    main()
