"""Feedback of a box over SSH: `vedette feedback export` there writes an archive, which is read here.

The OpenSSH client of this machine is used with its own configuration and agent, and without prompts (BatchMode).
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import PurePosixPath

from vedette.runtime.errors import ConfigProblem, MachineProblem, Problem
from vedette.runtime.plugin_tables import split_url
from vedette.runtime.redaction import redact

from .feedback import Feedback
from .feedback_archive import read_archive

_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=15")
_TIMEOUT_SECONDS = 15 * 60
_MAX_PADDING_BYTES = 1 << 20  # behind the archive
_MAX_ERROR_BYTES = 64 << 10
_SSH_FAILED, _COMMAND_NOT_FOUND = 255, 127


def fetch_feedback(url: str, states: Sequence[PurePosixPath], sudo: bool) -> Feedback:
    """The feedback of a box.

    Args:
        url: ssh://user@host, with :port if needed
        states: folders on the box with the states of cameras or with their evidence
        sudo: whether the command runs as root there; sudo must not ask for a password

    Raises:
        ConfigProblem: the URL is not valid, or the box sent something else.
        MachineProblem: the box cannot be reached, or the command fails there.
    """
    export = ("vedette", "feedback", "export", *map(str, states), "--out", "-")
    command = shlex.join((*(("sudo", "-n") if sudo else ()), *export))
    arguments, address = _ssh_arguments(url)
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(  # noqa: S603  # the arguments are a list, and the host was checked
                [*arguments, address, command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
        except FileNotFoundError:
            raise MachineProblem("ssh is not installed", hint="apt-get install openssh-client") from None
        with process:
            answer = _read_answer(process, address)
        errors.seek(0)
        told = errors.read(_MAX_ERROR_BYTES).decode(errors="replace")
    if isinstance(answer, Feedback) or process.returncode in (0, -signal.SIGKILL):
        if isinstance(answer, Problem):
            raise answer
        return answer
    error = " ".join(told.split())[-500:] or f"exit code {process.returncode}"
    if process.returncode == _SSH_FAILED:
        hint = f"ssh {address} must work without a prompt: ssh-copy-id {address}, and connect once to accept its key"
        raise MachineProblem(f"{address} cannot be reached: {error}", hint=hint)
    if process.returncode == _COMMAND_NOT_FOUND:
        hint = f"install vedette on the box, so that ssh {address} vedette --version works"
        raise MachineProblem(f"{address}: {error}", hint=hint)
    hint = "the state folders belong to the user vedette: add --sudo if this login may use sudo without a password"
    raise MachineProblem(f"{address}: {error}", hint=hint)


def _read_answer(process: subprocess.Popen[bytes], address: str) -> Feedback | Problem:
    """Reads the archive as it arrives, and kills a command that sends more or takes too long."""
    assert process.stdout is not None
    timer = threading.Timer(_TIMEOUT_SECONDS, process.kill)
    timer.start()
    answer: Feedback | Problem
    try:
        answer = read_archive(process.stdout, address)
    except ConfigProblem as problem:
        answer = problem
    if len(process.stdout.read(_MAX_PADDING_BYTES)) == _MAX_PADDING_BYTES:
        process.kill()
    process.wait()
    is_late = timer.finished.is_set()
    timer.cancel()
    if is_late:
        return MachineProblem(f"{address}: no answer for {_TIMEOUT_SECONDS // 60} minutes", hint="check it")
    return answer


def _ssh_arguments(url: str) -> tuple[list[str], str]:
    """The command without the remote part, and the address."""
    parts = split_url(url, "BOX")
    try:
        invalid = parts.scheme != "ssh" or not parts.hostname or parts.path not in ("", "/") or parts.port == 0
    except ValueError:
        invalid = True
    if invalid or (parts.hostname or "").startswith("-") or (parts.username or "").startswith("-") or parts.password:
        raise ConfigProblem(f"{redact(url)}: not of the form ssh://user@host", hint="for example ssh://pi@192.168.1.20")
    host = parts.hostname or ""
    port = ["-p", str(parts.port)] if parts.port else []
    return ["ssh", *_OPTIONS, *port], f"{parts.username}@{host}" if parts.username else host
