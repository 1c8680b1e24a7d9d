"""A command of Vedette as a child process: what a service does for itself as its operator would do it at the box."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import MachineProblem

_OF_THE_SERVICE = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
_MESSAGE, _REMEDY = "vedette: ", "remedy: "  # as runtime/cli.py prints them


def start_command(
    arguments: Sequence[str],
    folder: Path,
    output: int = subprocess.DEVNULL,
    errors: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[str]:
    """Starts `vedette ARGUMENTS --config FOLDER` in a session of its own, without the variables of this service.

    Args:
        arguments: of the command
        folder: with vedette.toml
        output: where its standard output goes, as of `subprocess.Popen`
        errors: where its standard error goes
        pass_fds: descriptors that it inherits

    Raises:
        MachineProblem: it cannot be started.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OF_THE_SERVICE}
    command = [sys.executable, "-m", "vedette.runtime.cli", arguments[0], "--config", str(folder), *arguments[1:]]
    try:
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            text=True,
            errors="replace",
            env=environment,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    except OSError as error:
        raise MachineProblem(f"vedette {arguments[0]}: {error.strerror}") from None


def read_problem(output: str) -> tuple[str, str]:
    """Message and remedy of the Problem that ended a command; empty if its output has none."""
    lines = [line.strip() for line in output.splitlines()]
    message = next((line for line in lines if line.startswith(_MESSAGE)), "")
    remedy = next((line for line in lines if line.startswith(_REMEDY)), "")
    return message.removeprefix(_MESSAGE), remedy.removeprefix(_REMEDY)
