"""The last lines that a camera's service wrote to the systemd journal."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec

from ..redaction import redact

MAX_LINES = 200
_SECONDS = 10.0
_RUNS_SYSTEMD = Path("/run/systemd/system")
_LEVELS = {"0": "bad", "1": "bad", "2": "bad", "3": "bad", "4": "watch"}


class LogLine(msgspec.Struct, frozen=True):
    """A line of the journal."""

    taken: float
    """Seconds since 1970, UTC."""
    level: str
    """`good`, `watch` (a warning) or `bad` (an error)."""
    text: str


class _Entry(msgspec.Struct, frozen=True):
    message: str | list[int] | None = msgspec.field(name="MESSAGE", default="")
    priority: str = msgspec.field(name="PRIORITY", default="6")
    microseconds: str = msgspec.field(name="__REALTIME_TIMESTAMP", default="0")


def has_service_log() -> bool:
    """Whether this device keeps logs of services."""
    return shutil.which("journalctl") is not None and _RUNS_SYSTEMD.is_dir()


def read_service_log(camera: str) -> list[LogLine] | None:
    """The last lines of a camera's service, the newest first; None: there is no journal that this user may read.

    Args:
        camera: its name, which must be that of a configured camera
    """
    program = shutil.which("journalctl")
    if program is None or not has_service_log():
        return None
    unit = f"vedette@{camera}.service"
    command = [program, "--quiet", "--no-pager", "--output=json", "--reverse", f"--lines={MAX_LINES}", f"--unit={unit}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_journal(done.stdout) if done.returncode == 0 else None


def parse_journal(content: bytes) -> list[LogLine]:
    """The lines of `journalctl --output=json`; damaged ones are left out, and passwords in them."""
    lines = []
    for line in content.splitlines():
        try:
            entry = msgspec.json.decode(line, type=_Entry)
            taken = int(entry.microseconds) / 1e6
        except ValueError:
            continue
        text = bytes(entry.message).decode(errors="replace") if isinstance(entry.message, list) else entry.message or ""
        lines.append(LogLine(taken, _LEVELS.get(entry.priority, "good"), redact(text)))
    return lines
