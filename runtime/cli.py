"""The one command, `vedette`, and its verbs.

A verb's module is imported when the verb is used, so that the daemon never loads the workshop and `--help` loads
neither.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from typing import Any

import click

from .errors import MachineProblem, Problem

DEVICE = {
    "run": "watch one camera and send its events",
    "verify": "check that a bundle computes here what it promises",
    "show": "print what a bundle is",
    "doctor": "tell what this machine is and what works on it",
    "status": "ask the daemons how they are",
    "metrics": "the same for Prometheus",
    "outbox": "look into the outbox, and send again what it delivered",
    "traffic": "measure what a camera publishes of a recording, against H.264",
    "bench": "measure what a bundle costs on this machine",
}
WORKSHOP = {
    "audit": "find unusable, copied, blurred and mislabelled images",
    "build": "make a bundle from images and a goal",
    "keygen": "make a key pair to sign bundles with",
    "demo": "the whole way on real pictures: build, run, events",
}


INTERRUPTED = 130  # as a shell says of what Ctrl-C ended


class _Verbs(click.Group):
    """The verbs by name; each lives in a module called like it, as the attribute of the same name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*DEVICE, *WORKSHOP]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in DEVICE:
            place = "vedette.runtime.commands"
        elif cmd_name in WORKSHOP:
            place = "vedette.compress.commands"
        else:
            return None
        try:
            module = import_module(f"{place}.{cmd_name}")
        except ModuleNotFoundError as error:
            if cmd_name in DEVICE or (error.name or "").startswith("vedette"):
                raise
            hint = "pip install 'vedette[compress]'"
            raise MachineProblem(f"{cmd_name} needs the workshop, and {error.name} is missing", hint=hint) from None
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, verbs in (("On the device", DEVICE), ("In the workshop", WORKSHOP)):
            with formatter.section(title):
                formatter.write_dl(list(verbs.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="vedette", message="%(prog)s %(version)s")
def vedette() -> None:
    """Vedette: from a folder of good images to events from the camera's box.

    A vedette is a sentry posted ahead of the line: it watches, and sends word only when there is something to say.
    """
    _log_to_stderr()


class _JournalPriority(logging.Formatter):
    """Under systemd a line starts with its syslog priority, and the journal adds the time."""

    LEVELS = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in self.LEVELS if record.levelno >= level), 7)
        return f"<{priority}>{super().format(record)}"


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_JournalPriority("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    root = logging.getLogger("vedette")
    root.handlers = [handler]
    root.setLevel(logging.INFO)


def main(arguments: list[str] | None = None) -> Any:
    """The entry point: a Problem becomes its message, its hint and its exit code."""
    try:
        return vedette.main(arguments, prog_name="vedette", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("vedette: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except Problem as problem:
        click.echo(f"vedette: {problem.message}", err=True)
        if problem.hint:
            click.echo(f"  remedy: {problem.hint}", err=True)
        sys.exit(problem.code)


if __name__ == "__main__":
    main()
