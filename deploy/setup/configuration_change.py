"""A camera's file is replaced: checked first, the present one kept, the daemon watched with it, put back if it fails.

    NAME.toml        old ──────────► new (renamed in one step)
    NAME.toml.last   older ──► old

A power cut leaves the old file or the new one, and the old one is in `NAME.toml.last` before the new one appears. One
that falls into the watch leaves the new file: it was checked, but nobody saw the daemon run with it to the end.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from vedette.runtime.atomic_file import write_atomically
from vedette.runtime.config.configuration import camera_names, device_folders, load_config, load_device
from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.installation.camera_bundle import last_good_file
from vedette.runtime.installation.camera_service import restart_cameras
from vedette.runtime.monitoring.status import StatusReport, request_status

from .configuration_files import CAMERAS
from .durable_files import PlannedFile
from .staged_configuration import stage_configuration

START_SECONDS = 120.0
"""So long the daemon may take until its first frame: the self-test of a large model on a small board takes half."""
_POLL_SECONDS = 0.5
_FRAME_SECONDS = 10.0
"""A camera of which no frame came for this long is at fault; some give a frame every few seconds."""
_HINT = "run the command as root (sudo)"

Restart = Callable[[Path, list[str]], list[str]]
"""Restarts the daemons of cameras; returns the commands that are left to the user."""
Check = Callable[[Path, str, bytes, bytes], None]
"""Raises a Problem if a camera may not get its file: configuration folder, camera, present content, new content."""


class ChangeFailed(ConfigProblem):
    """The daemon did not do well with the new file. `is_back`: the file from before is there again."""

    is_back = True


class ConfigurationChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a camera's file."""

    camera: str
    state: str
    """`unchanged`, `written` (nobody watched), or `healthy`."""
    left: tuple[str, ...] = ()
    """Commands that are left to the user."""


def change_camera(
    folder: Path,
    camera: str,
    content: bytes,
    watch: float,
    restart: Restart = restart_cameras,
    start_seconds: float = START_SECONDS,
    check: Check | None = None,
) -> ConfigurationChange:
    """Replaces the file of a camera, and puts the present one back if the daemon does not run with the new one.

    Args:
        folder: with vedette.toml
        camera: its name; it must have a file
        content: of the new file
        watch: seconds that the daemon must run with it, from its first report on
        restart: restarts the daemon
        start_seconds: most seconds until the daemon answers, and has frames and the broker if it had them before
        check: what the new file must pass; None: what the daemon would check

    Raises:
        ConfigProblem: the new file is wrong or does not fit the bundle, and nothing was changed.
        ChangeFailed: the daemon failed with it, and the file from before is back.
        BundleProblem: the bundle that it names is not usable.
        MachineProblem: a file cannot be written.
    """
    path = folder / CAMERAS / f"{camera}.toml"
    if camera not in camera_names(folder):
        hint = f"there are {', '.join(camera_names(folder)) or 'none'}; vedette setup adds a camera"
        raise ConfigProblem(f"{path}: no such camera", hint=hint)
    present = path.read_bytes()
    if content == present:
        return ConfigurationChange(camera, "unchanged")
    (check or check_content)(folder, camera, present, content)
    if path.read_bytes() != present:
        raise ConfigProblem(f"{path} was changed meanwhile", hint="look at it, and try again")
    before, last = _ask(folder, camera), last_good_file(path)
    older = last.read_bytes() if last.exists() else None
    if is_good := _is_usable(folder, camera):
        write_atomically(last, present, _HINT, like=path)
    write_atomically(path, content, _HINT, like=path)
    is_healthy, asked = False, time.monotonic()
    with _interruptible():
        try:
            left = tuple(restart(folder, [camera]))
            now = _ask(folder, camera)
            if before is None or (left and now is not None and not _is_younger(now, asked)):
                is_healthy = True  # nothing ran before, or nobody restarted it: there is nothing to watch
                return ConfigurationChange(camera, "written", left)
            if left and now is None:
                reason = "its service does not start"
            else:
                reason = _watch(folder, camera, before, asked, watch, start_seconds)
            is_healthy = not reason
        finally:
            if not is_healthy and is_good:  # also if the command is interrupted
                _put_back(path, present, older)
                restart(folder, [camera])
    if reason:
        kept = "the file from before is back" if is_good else "the file from before is wrong, so the new one stays"
        failure = ChangeFailed(f"{camera}: {reason}; {kept}", hint=f"journalctl -u vedette@{camera} says more")
        failure.is_back = is_good
        raise failure
    return ConfigurationChange(camera, "healthy")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """The end of the terminal and SIGTERM are as Ctrl-C: the file from before is put back."""
    present = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in present.items():
            signal.signal(number, handler)


def check_content(folder: Path, camera: str, _present: bytes, content: bytes) -> None:
    """Raises what the daemon would raise with this content of a camera's file."""
    path = folder / CAMERAS / f"{camera}.toml"
    with stage_configuration([PlannedFile(path, content)], folder) as staged:
        checks = staged.check_bundle(staged.load(camera))
    for check in checks:
        if check.works is False:
            raise ConfigProblem(check.found, hint=check.remedy)


def _is_usable(folder: Path, camera: str) -> bool:
    """Whether the present file is one to go back to."""
    try:
        load_config(folder, camera)
    except Problem:
        return False
    return True


def _put_back(path: Path, present: bytes, older: bytes | None) -> None:
    last = last_good_file(path)
    write_atomically(path, present, _HINT, like=last)
    if older is None:
        last.unlink(missing_ok=True)
    else:
        write_atomically(last, older, _HINT, like=path)


def _watch(folder: Path, camera: str, before: StatusReport, asked: float, watch: float, start_seconds: float) -> str:
    """Watches the daemon after its restart; why it failed, or nothing."""
    end = asked + start_seconds
    while (fault := _find_fault(report := _ask(folder, camera), before, asked)) or report is None:
        if time.monotonic() > end:
            return f"{start_seconds:g} s after the restart {fault}"
        time.sleep(_POLL_SECONDS)
    first = report
    time.sleep(watch)
    fault = _find_fault(report := _ask(folder, camera), before, asked)
    if fault or report is None:
        return fault
    if report.uptime_seconds < first.uptime_seconds + watch:
        return "the daemon ended by itself, and was started again"
    if first.frames and watch >= _FRAME_SECONDS and report.frames == first.frames:
        return f"no frame came in {watch:g} s"
    return ""


def _find_fault(report: StatusReport | None, before: StatusReport, asked: float) -> str:
    """What is worse than before the change; empty: nothing."""
    if report is None or not _is_younger(report, asked):
        return "the daemon does not run"
    if before.frames and not report.frames:
        return "no frame comes"
    if before.connected and not report.connected:
        return "there is no connection to the broker"
    return ""


def _is_younger(report: StatusReport, asked: float) -> bool:
    """Whether the daemon was started after a time by time.monotonic()."""
    return report.uptime_seconds < time.monotonic() - asked


def _ask(folder: Path, camera: str) -> StatusReport | None:
    """The report of the daemon; None: it does not run."""
    with contextlib.suppress(Problem, OSError):
        return request_status(device_folders(folder, load_device(folder))[0] / camera)
    return None
