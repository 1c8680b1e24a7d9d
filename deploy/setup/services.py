"""The cameras' systemd units: enabled, started, or which commands are left."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from vedette.runtime.config.configuration import SYSTEM_FOLDER
from vedette.runtime.errors import MachineProblem

_BOOTED = Path("/run/systemd/system")
"""There if systemd is the first process of this machine (sd_booted(3))."""
_TIMEOUT_SECONDS = 90.0
REQUESTS_UNIT = "vedette-configure.path"


class UnitResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a camera's unit."""

    camera: str
    state: str
    """`started`, `restarted`, `running` (nothing to do), `enabled` (not started), or why not."""
    left: str = ""
    """A command that is left to the user."""


def start_units(
    cameras: Sequence[str], folder: Path, changed: bool, wait: bool = True, booted: Path = _BOOTED
) -> list[UnitResult]:
    """Enables `vedette@CAMERA` for each camera and starts it, or again if its configuration changed.

    Args:
        cameras: names of the cameras
        folder: with vedette.toml
        changed: whether a file was written
        wait: until each has started; False: start it in the background
        booted: a path that exists if systemd runs

    Raises:
        MachineProblem: systemd refuses.
    """
    if folder.absolute() != SYSTEM_FOLDER:
        reason = f"not started: the unit reads {SYSTEM_FOLDER}"
        return [UnitResult(each, reason, f"vedette run {each} --config {folder}") for each in cameras]
    if shutil.which("systemctl") is None or not booted.exists():
        reason = "not started: systemd does not run here"
        return [UnitResult(each, reason, f"systemctl enable --now vedette@{each}") for each in cameras]
    results = []
    for camera in cameras:
        unit = f"vedette@{camera}.service"
        runs = _succeeds("is-active", unit)
        if runs and not changed and _succeeds("is-enabled", unit):
            results.append(UnitResult(camera, "running"))
            continue
        _call("enable", unit)
        _call(*([] if wait else ["--no-block"]), "restart", unit)
        results.append(UnitResult(camera, "restarted" if runs else "started"))
    return results


def enable_units(cameras: Sequence[str], folder: Path) -> None:
    """Enables the units without starting them, for the next boot; works also where systemd is not the first process.

    Raises:
        MachineProblem: systemctl refuses.
    """
    if folder.absolute() == SYSTEM_FOLDER and shutil.which("systemctl") is not None:
        for camera in cameras:
            _call("enable", f"vedette@{camera}.service")


def enable_requests(folder: Path, booted: Path = _BOOTED) -> None:
    """Enables the unit that applies requests to change a camera's file, and starts it if systemd runs.

    A system that lacks the unit goes on without: then such requests wait.
    """
    if folder.absolute() == SYSTEM_FOLDER and shutil.which("systemctl") is not None:
        _run("enable", *(["--now"] if booted.exists() else []), REQUESTS_UNIT)


def describe_failure(camera: str, runs: bool) -> str:
    """The last lines that a unit wrote to the journal, of one that runs the last warning; empty if there is none."""
    if shutil.which("journalctl") is None or not _BOOTED.exists():
        return ""
    command = ["journalctl", "--unit", f"vedette@{camera}", "--output", "cat", "--no-pager"]
    command += ["--priority", "warning", "--lines", "1"] if runs else ["--lines", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS)  # noqa: S603
    return done.stdout.strip()


def _succeeds(*arguments: str) -> bool:
    return _run("--quiet", *arguments).returncode == 0


def _call(*arguments: str) -> None:
    done = _run(*arguments)
    if done.returncode:
        words = " ".join(arguments)
        text = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        hint = "the unit belongs to the package: is vedette@.service in /usr/lib/systemd/system?"
        raise MachineProblem(f"systemctl {words}: {text}", hint=hint)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemctl", "--no-ask-password", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise MachineProblem(
            f"systemctl {' '.join(arguments)}: no answer in {_TIMEOUT_SECONDS:.0f} s",
            hint="look at it with systemctl status and journalctl -e",
        ) from None
