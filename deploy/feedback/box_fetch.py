"""Feedback of a box over SSH: `vedette feedback export` there writes an archive, which is read here.

The OpenSSH client of this machine is used with its own configuration and agent, and without prompts (BatchMode).
"""

from __future__ import annotations

import io
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import PurePosixPath

from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.plugin_tables import split_url
from vedette.runtime.redaction import redact

from .feedback import Feedback
from .feedback_archive import read_archive

_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=15")
_TIMEOUT_SECONDS = 15 * 60
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
    try:
        result = subprocess.run(  # noqa: S603  # the arguments are a list, and the host was checked
            [*arguments, address, command],
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
        )
    except FileNotFoundError:
        raise MachineProblem("ssh is not installed", hint="apt-get install openssh-client") from None
    except subprocess.TimeoutExpired:
        raise MachineProblem(f"{address}: no answer for {_TIMEOUT_SECONDS // 60} minutes", hint="check it") from None
    if result.returncode == 0:
        return read_archive(io.BytesIO(result.stdout), address)
    error = " ".join(result.stderr.decode(errors="replace").split())[-500:] or f"exit code {result.returncode}"
    if result.returncode == _SSH_FAILED:
        hint = f"ssh {address} must work without a prompt: ssh-copy-id {address}, and connect once to accept its key"
        raise MachineProblem(f"{address} cannot be reached: {error}", hint=hint)
    if result.returncode == _COMMAND_NOT_FOUND:
        hint = f"install vedette on the box, so that ssh {address} vedette --version works"
        raise MachineProblem(f"{address}: {error}", hint=hint)
    hint = "the state folders belong to the user vedette: add --sudo if this login may use sudo without a password"
    raise MachineProblem(f"{address}: {error}", hint=hint)


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
