"""Requests of the user `vedette` to change a camera's file, which belongs to root, and the results that come back.

    STATE/configuration/requests/ID.toml    the whole new file
    STATE/configuration/requests/ID.json    whose it is and who asks; it is written last, and makes the request complete
    STATE/configuration/results/ID.json     what became of it, written by whoever applies it

On a box, `vedette-configure.path` sees the request and starts `vedette configure --requests` as root. Where no such
unit runs and this user may write the camera's file itself, the request starts that command.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ...atomic_file import sync_folder
from ...config.configuration import SYSTEM_FOLDER, Name
from ...config.installed_bundle import REQUESTS_FOLDER
from ...errors import UNREADABLE, ConfigProblem, MachineProblem
from ..camera_service import SYSTEMD
from ..child_command import start_command

MAX_BYTES = 64 << 10
"""Of a camera's file that is asked for."""
MAX_WAITING = 8
"""Requests that may wait at a time."""
MAX_RESULT_BYTES = 16 << 10
_IDENTITY = re.compile(r"[0-9a-f]{32}")
_HINT = "the service's user must be able to write its state folder; free space on the disk"

Identity = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
Origin = Literal["page", "fleet"]
Outcome = Literal["applied", "refused", "rolled_back"]


class ChangeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`requests/ID.json`."""

    id: Identity
    camera: Annotated[Name, msgspec.Meta(max_length=200)]
    origin: Origin
    by: Annotated[str, msgspec.Meta(max_length=200)]
    """Who asks: the user of the page, or the ID of the key that signed the order."""
    created: Annotated[float, msgspec.Meta(ge=0, le=1 << 40)]
    """Seconds since 1970, by the box's clock."""


class ConfigurationResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """`results/ID.json`: what became of a request."""

    id: Identity
    camera: str
    outcome: Outcome
    """`applied`; `refused`: nothing was changed; `rolled_back`: the daemon did not do well with it, and the file from
    before is back."""
    reason: str = ""
    """Why it was refused or rolled back; of an applied one what is left to do, if anything."""
    origin: str = ""
    by: str = ""
    digest: str = ""
    """SHA-256 of the camera's file afterwards."""
    before: str = ""
    """SHA-256 of the camera's file before."""
    changed: tuple[str, ...] = ()
    """Keys of the camera's file that an applied request changed."""
    left: tuple[str, ...] = ()
    """Commands that somebody has to run on the device until the camera runs with an applied change."""
    time: float = 0.0
    """Seconds since 1970, by the box's clock."""


def requests_folder(state: Path) -> Path:
    """Where requests wait."""
    return state / REQUESTS_FOLDER / "requests"


def results_folder(state: Path) -> Path:
    """Where results are."""
    return state / REQUESTS_FOLDER / "results"


def request_change(
    state: Path, camera: str, text: str, origin: Origin, by: str, *, folder: Path | None = None, identity: str = ""
) -> str:
    """Asks for another file of a camera.

    Args:
        state: state folder of the device
        camera: its name
        text: the whole new file; `permitted_changes.py` says what may differ from the present one
        origin: what asks
        by: who asks
        folder: with vedette.toml; where it is not that of the service and this user may write the camera's file, the
            request is applied without root. None: it waits for the service
        identity: 32 hexadecimal digits; empty: new ones

    Returns:
        The ID of the request, for `read_result`.

    Raises:
        ConfigProblem: the text is too long, the camera's name is none, or too many requests wait.
        MachineProblem: the state folder cannot be written.
    """
    content = text.encode()
    if len(content) > MAX_BYTES:
        raise ConfigProblem(f"{len(content)} bytes exceed the {MAX_BYTES} of a camera's file", "shorten it")
    values = {"id": identity or secrets.token_hex(16), "camera": camera, "origin": origin, "by": by[:200]}
    try:
        request = msgspec.convert(values | {"created": time.time()}, ChangeRequest)
    except msgspec.ValidationError as error:
        raise ConfigProblem(f"not a request: {error}", "docs/updates.md shows one") from None
    where = requests_folder(state)
    try:
        _make_folder(where.parent, 0o755)
        _make_folder(where, 0o770)
        _make_folder(results_folder(state), 0o775)
        if len(list(where.glob("*.json"))) >= MAX_WAITING:
            hint = "is vedette-configure.path enabled? systemctl status vedette-configure.path"
            raise ConfigProblem(f"{MAX_WAITING} requests wait already", hint)
        _write(where / f"{request.id}.toml", content)
        _write(where / f"{request.id}.json", msgspec.json.encode(request))
        sync_folder(where)
    except OSError as error:
        raise MachineProblem(f"{where}: {error.strerror}", _HINT) from None
    if folder is not None and not is_applied_by_service(folder):
        apply_without_service(folder)
    return request.id


def read_result(state: Path, identity: str) -> ConfigurationResult | None:
    """What became of a request; None: it waits, is being applied, or is unknown."""
    if not _IDENTITY.fullmatch(identity):
        return None
    try:
        with open(results_folder(state) / f"{identity}.json", "rb", opener=_open_file) as file:
            result = msgspec.json.decode(file.read(MAX_RESULT_BYTES), type=ConfigurationResult)
    except (OSError, *UNREADABLE):
        return None
    return result if result.id == identity else None


def is_waiting(state: Path, identity: str) -> bool:
    """Whether a request has no result yet."""
    return (requests_folder(state) / f"{identity}.json").exists() and read_result(state, identity) is None


def read_last_applied(state: Path, camera: str) -> ConfigurationResult | None:
    """The result of the last request that changed a camera's file; None: none is kept."""
    found = (read_result(state, path.stem) for path in results_folder(state).glob("*.json"))
    applied = [each for each in found if each is not None and (each.camera, each.outcome) == (camera, "applied")]
    return max(applied, key=lambda each: each.time, default=None)


def is_applied_by_service(folder: Path) -> bool:
    """Whether a service of root applies requests: systemd runs, and the configuration is that of the services."""
    return folder.absolute() == SYSTEM_FOLDER and SYSTEMD.is_dir()


def apply_without_service(folder: Path) -> None:
    """Starts the program that applies requests as this user, and does not wait for it.

    Raises:
        MachineProblem: it cannot be started.
    """
    process = start_command(["configure", "--requests"], folder)
    threading.Thread(target=process.wait, daemon=True).start()  # whoever started a process has to ask for its end


def _make_folder(folder: Path, mode: int) -> None:
    """A folder whose group, that of the service's user, may write it: so root needs no right to override modes."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)  # mkdir leaves out what the umask forbids


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.part")
    with open(partial, "wb", opener=_make_file) as file:
        os.fchmod(file.fileno(), 0o640)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _make_file(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o640)


def _open_file(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
