"""The builds of the folder: `builds/N` holds the log, the printed figures, the bundle and its report."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec

from vedette.runtime.atomic_file import write_atomically
from vedette.runtime.bundle.archive import unpack_archive
from vedette.runtime.bundle.bundle import MANIFEST
from vedette.runtime.errors import ConfigProblem, Problem

from ..goal.goal_reader import read_goal
from .workshop_process import ProcessSlot
from .workspace import Workspace

LOG, FIGURES, STATE = "build.log", "figures.json", "state.json"


class BuildState(msgspec.Struct, frozen=True):
    """How a build ended."""

    exit_code: int
    is_cancelled: bool = False


class ReleaseIdentity(msgspec.Struct, frozen=True):
    """What the manifest of a bundle says of itself."""

    name: str
    release: int
    signer: str


class BuildRecord(msgspec.Struct, frozen=True):
    """A build."""

    number: int
    folder: Path
    state: BuildState | None
    """None: it runs, or the page ended before it."""
    figures: dict[str, Any] | None
    """What `vedette build --json` printed; None: it made no bundle."""

    @property
    def bundle(self) -> Path | None:
        """The bundle; None: there is none."""
        return next(iter(sorted(self.folder.glob("*.vedette"))), None) if self.figures is not None else None

    @property
    def report(self) -> Path | None:
        """The report; None: there is none."""
        if self.figures is None:
            return None
        path = self.folder / Path(self.figures["report"]).name
        return path if path.is_file() else None

    @property
    def log(self) -> Path:
        """What the build wrote while it ran."""
        return self.folder / LOG


def list_builds(workspace: Workspace) -> list[BuildRecord]:
    """All builds, the newest first."""
    folders = [path for path in workspace.builds_folder.glob("*") if path.name.isdecimal() and path.is_dir()]
    return [_read_record(path) for path in sorted(folders, key=lambda path: int(path.name), reverse=True)]


def find_build(workspace: Workspace, number: int) -> BuildRecord | None:
    """The build of a number; None: there is none."""
    folder = workspace.builds_folder / str(number)
    return _read_record(folder) if folder.is_dir() else None


def start_build(workspace: Workspace, slot: ProcessSlot, key: Path | None, previous: BuildRecord | None) -> int:
    """Starts a build of the goal; returns its number.

    Args:
        workspace: with the goal
        slot: where it runs
        key: signs the bundle; None: this user's own
        previous: the release that it is compared with; None: none

    Raises:
        ConfigProblem: the goal is wrong, or something runs already.
    """
    read_goal(workspace.goal_file)
    if slot.running is not None:
        raise ConfigProblem("an audit or a build runs already", hint="wait for it, or cancel it")
    number = max((each.number for each in list_builds(workspace)), default=0) + 1
    folder = workspace.builds_folder / str(number)
    folder.mkdir(parents=True)
    arguments = ["build", str(workspace.goal_file), "--out", str(folder), "--json"]
    arguments += ["--key", str(key)] if key is not None else []
    arguments += ["--previous", str(previous.bundle)] if previous is not None and previous.bundle is not None else []

    def finish(code: int) -> None:
        state = BuildState(code, slot.current is not None and slot.current.is_cancelled)
        if state.is_cancelled:
            _remove_outputs(folder)
        write_atomically(folder / STATE, msgspec.json.encode(state), "make the folder writable")

    try:
        slot.start("build", arguments, workspace.folder, folder / LOG, folder / FIGURES, finish)
    except Problem:
        shutil.rmtree(folder)
        raise
    return number


def _remove_outputs(folder: Path) -> None:
    """Removes what a cancelled build has written so far, but its log."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOG:
            path.unlink(missing_ok=True)


def read_identity(record: BuildRecord) -> ReleaseIdentity | None:
    """Name, release and signer of a build's bundle; None: there is no bundle."""
    if record.bundle is None:
        return None
    try:
        return msgspec.json.decode(unpack_archive(record.bundle)[MANIFEST], type=ReleaseIdentity)
    except (Problem, OSError, KeyError, msgspec.MsgspecError):
        return None


def _read_record(folder: Path) -> BuildRecord:
    return BuildRecord(
        int(folder.name), folder, _read(folder / STATE, BuildState), _read(folder / FIGURES, dict[str, Any])
    )


def _read(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None
