"""Requests to change cameras' files are applied: `vedette configure --requests`, as root on a box.

    1. which keys differ             in a process without root (hostile_text.py); others than the permitted: refused
    2. would the daemon take it      in a process of the daemon's user: keys, bundle, golden outputs, rules
    3. NAME.toml.change              what stood there before, durably
    4. NAME.toml                     replaced, the daemon restarted and watched, the old file put back if need be
    5. results/ID.json               what became of it; then NAME.toml.change and the request go

A start that finds `NAME.toml.change` was cut off between 3 and 5: nobody saw the daemon run with the new file to the
end, so the old one comes back, and the result says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import hashlib
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from vedette.runtime.atomic_file import sync_folder, write_atomically
from vedette.runtime.config.configuration import camera_names, device_folders, load_device
from vedette.runtime.errors import UNREADABLE, ConfigProblem, MachineProblem, Problem
from vedette.runtime.installation.camera_service import restart_cameras
from vedette.runtime.installation.configuration.change_requests import ChangeRequest, ConfigurationResult
from vedette.runtime.installation.configuration.permitted_changes import check_permitted, read_text

from .configuration_change import START_SECONDS, ChangeFailed, Restart, change_camera
from .configuration_files import CAMERAS
from .hostile_text import read_without_root
from .request_files import RequestFiles, UnusableRequest

CHECK_SECONDS = 300.0
PAUSE_SECONDS = 10.0
"""After a run that could not look at the requests."""
_MARK = ".change"
_LOCK = ".requests.lock"
_HINT = "run the command as root (sudo)"


class _Mark(msgspec.Struct, frozen=True):
    """`NAME.toml.change`: a change that has begun."""

    id: str
    origin: str
    by: str
    before: str
    """The camera's file before."""
    digest: str
    """SHA-256 of the new one."""


class RequestApplier:
    """Applies the requests of a device.

    Args:
        folder: with vedette.toml
        watch: seconds that a daemon must run with its new file
        restart: restarts daemons
        start_seconds: as of `change_camera`
    """

    def __init__(
        self,
        folder: Path,
        watch: float,
        restart: Restart = restart_cameras,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self.folder, self.watch, self.restart, self.start_seconds = folder, watch, restart, start_seconds
        self.state = device_folders(folder, load_device(folder))[0]

    def apply_all(self) -> list[ConfigurationResult]:
        """Applies the requests that wait, of each camera the last one; returns what became of them.

        Raises:
            MachineProblem: the folders of requests are not usable, or the disk does not take a result.
        """
        with self._lock(), RequestFiles(self.state) as files:
            results = self._finish_cut_off(files)
            usable = list[tuple[ChangeRequest, str]]()
            for identity, request, text in files.find():
                if files.has_result(identity):
                    files.remove(identity)
                elif isinstance(request, UnusableRequest):
                    results.append(self._finish(files, ConfigurationResult(identity, "", "refused", str(request))))
                else:
                    usable.append((request, text))
            usable.sort(key=lambda each: (each[0].created, each[0].id))
            last = {request.camera: request.id for request, _ in usable}
            for request, text in usable:
                if last[request.camera] == request.id:
                    results.append(self._apply(files, request, text))
                else:
                    reason = "a later request for this camera came"
                    results.append(self._finish(files, _result(request, "refused", reason)))
            return results

    def _finish(self, files: RequestFiles, result: ConfigurationResult) -> ConfigurationResult:
        result = msgspec.structs.replace(result, time=time.time())
        files.write_result(result)
        files.remove(result.id)
        return result

    def _apply(self, files: RequestFiles, request: ChangeRequest, text: str) -> ConfigurationResult:
        changed: list[str] = []
        before = ""

        def check(folder: Path, camera: str, present: bytes, content: bytes) -> None:
            nonlocal before
            before = _digest(present)
            what = f"{camera}.toml"
            changed.extend(
                read_without_root(
                    lambda: check_permitted(read_text(present, what), read_text(content, "the request"), "the request")
                )
            )
            _check_as_service(folder, camera, content, self.state)
            mark = _Mark(request.id, request.origin, request.by, present.decode(), _digest(content))
            path = self._mark_of(camera)
            write_atomically(path, msgspec.json.encode(mark), _HINT, private=True)

        try:
            if request.camera not in camera_names(self.folder):
                raise ConfigProblem(f"no camera {request.camera[:100]}")
            change = change_camera(
                self.folder, request.camera, text.encode(), self.watch, self.restart, self.start_seconds, check
            )
            left = f"left to do: {'; '.join(change.left)}" if change.left else ""
            result = _result(request, "applied", left)
            result = msgspec.structs.replace(result, changed=tuple(changed), before=before, left=change.left)
        except ChangeFailed as failure:
            result = _result(request, "rolled_back" if failure.is_back else "applied", failure.message)
        except (Problem, UnicodeDecodeError, OSError) as problem:
            reason = f"{problem.message}; {problem.hint}" if isinstance(problem, Problem) else str(problem)
            result = _result(request, "refused", reason)
        with contextlib.suppress(OSError):
            result = msgspec.structs.replace(result, digest=_digest(self._path_of(request.camera).read_bytes()))
        result = self._finish(files, result)
        self._forget(request.camera)
        return result

    def _finish_cut_off(self, files: RequestFiles) -> list[ConfigurationResult]:
        """Puts back what was replaced when this program, or the machine, was cut off."""
        results = []
        for path in sorted((self.folder / CAMERAS).glob(f"*.toml{_MARK}")):
            camera = path.name.removesuffix(f".toml{_MARK}")
            try:
                mark = msgspec.json.decode(path.read_bytes(), type=_Mark)
            except (OSError, *UNREADABLE):
                self._forget(camera)  # it was written in one step, so somebody damaged it; nothing else is known
                continue
            file = self._path_of(camera)
            if not files.has_result(mark.id):
                if file.exists() and _digest(file.read_bytes()) == mark.digest:
                    write_atomically(file, mark.before.encode(), _HINT, like=file)
                    self.restart(self.folder, [camera])
                reason = "it was cut off, so the file from before is back"
                digest = _digest(file.read_bytes()) if file.exists() else ""
                result = ConfigurationResult(mark.id, camera, "rolled_back", reason, mark.origin, mark.by, digest)
                results.append(self._finish(files, result))
            self._forget(camera)
        return results

    def _path_of(self, camera: str) -> Path:
        return self.folder / CAMERAS / f"{camera}.toml"

    def _mark_of(self, camera: str) -> Path:
        return self.folder / CAMERAS / f"{camera}.toml{_MARK}"

    def _forget(self, camera: str) -> None:
        if "/" not in camera and (path := self._mark_of(camera)).exists():
            path.unlink(missing_ok=True)
            sync_folder(path.parent)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One such program at a time; only this user can hold the lock."""
        path = self.folder / CAMERAS / _LOCK
        try:
            with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise MachineProblem(f"{path}: {error.strerror}", _HINT) from None


def _result(request: ChangeRequest, outcome: str, reason: str) -> ConfigurationResult:
    values = {"id": request.id, "camera": request.camera, "outcome": outcome, "reason": reason[:1000]}
    return msgspec.convert(values | {"origin": request.origin, "by": request.by}, ConfigurationResult)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_as_service(folder: Path, camera: str, content: bytes, state: Path) -> None:
    """Raises what the daemon would raise with this content, found by a process of the daemon's user."""
    command = [sys.executable, "-m", "vedette.deploy.setup.request_check", str(folder.absolute()), camera]
    user, group, groups = _identity_of(state)
    try:
        done = subprocess.run(  # noqa: S603
            command,
            input=content,
            capture_output=True,
            timeout=CHECK_SECONDS,
            check=False,
            cwd="/",
            user=user,
            group=group,
            extra_groups=groups,
        )
    except subprocess.TimeoutExpired:
        raise ConfigProblem(f"the check takes longer than {CHECK_SECONDS:.0f} s") from None
    except OSError as error:
        raise MachineProblem(f"the check of a request: {error.strerror}") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigProblem("; ".join(lines[-2:])[:1000] or f"the check ended with {done.returncode}")


def _identity_of(state: Path) -> tuple[int | None, int | None, list[int] | None]:
    """User, group and other groups of the daemons, as whom root runs the check; None: those of this process."""
    found = state.stat()
    if os.geteuid() != 0 or found.st_uid == 0:
        return None, None, None
    try:
        user = pwd.getpwuid(found.st_uid)
    except KeyError:
        return found.st_uid, found.st_gid, []
    return user.pw_uid, user.pw_gid, [group.gr_gid for group in grp.getgrall() if user.pw_name in group.gr_mem]
