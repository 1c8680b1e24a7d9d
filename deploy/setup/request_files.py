"""The folders of requests and results, handled by root although the user `vedette` can change them at any moment.

Everything is opened below the descriptor of a folder, and no link is followed. A file counts only if it is a regular
one with a single name, of the user whom the state folder belongs to, and small. So nothing elsewhere is read, written
or removed, whatever that user puts into the folders, or puts in their place.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from vedette.runtime.config.installed_bundle import REQUESTS_FOLDER
from vedette.runtime.errors import UNREADABLE, MachineProblem
from vedette.runtime.installation.configuration.change_requests import MAX_BYTES, ChangeRequest, ConfigurationResult

MAX_RESULTS = 64
"""Results that are kept."""
MAX_LOOKED_AT = 256
"""Names in the folder of requests that are looked at in a run."""
_MAX_HEAD_BYTES = 4 << 10
_HEAD = re.compile(r"([0-9a-f]{32})\.json")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class UnusableRequest(Exception):
    """A request that is no request; the message says why."""


class RequestFiles:
    """The requests and results of a device. Use it as a context.

    Args:
        state: state folder of the device
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.owner = -1
        self.requests = self.results = -1
        self.opened = contextlib.ExitStack()

    def __enter__(self) -> RequestFiles:
        try:
            parent = self._open(str(self.state), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # it may be passed alone
            self.owner = os.fstat(parent).st_uid
            folder = self._open(REQUESTS_FOLDER, _FOLDER | os.O_PATH, parent)
            self.requests, self.results = (self._open(each, _FOLDER, folder) for each in ("requests", "results"))
        except OSError as error:
            self.opened.close()
            where = f"{self.state / REQUESTS_FOLDER}: {error.strerror}"
            raise MachineProblem(where, "vedette makes these folders with the first request; no links") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()

    def find(self) -> Iterator[tuple[str, ChangeRequest | UnusableRequest, str]]:
        """Each request: its ID, what it asks for, and the text; a few hundred of them at most."""
        with os.scandir(self.requests) as entries:
            names = [entry.name for entry in islice(entries, MAX_LOOKED_AT)]
        for name in sorted(names):
            found = _HEAD.fullmatch(name)
            if found is None:
                if name.endswith(".json"):
                    self._remove(name)  # the path unit would start this program again and again
                continue
            try:
                yield found[1], self._read_head(found[1]), self._read(f"{found[1]}.toml", MAX_BYTES).decode()
            except (UnusableRequest, UnicodeDecodeError) as error:
                yield found[1], UnusableRequest(str(error)), ""

    def remove(self, identity: str) -> None:
        """Removes a request. What cannot be removed gets a name that is none of a request."""
        self._remove(f"{identity}.toml")
        self._remove(f"{identity}.json")
        with contextlib.suppress(OSError):
            os.fsync(self.requests)

    def has_result(self, identity: str) -> bool:
        """Whether a request has a result."""
        try:
            os.stat(f"{identity}.json", dir_fd=self.results, follow_symlinks=False)
        except OSError:
            return False
        return True

    def write_result(self, result: ConfigurationResult) -> None:
        """Writes a result durably, readable by all; removes the oldest beyond MAX_RESULTS.

        Raises:
            MachineProblem: the disk does not take it.
        """
        name, partial = f"{result.id}.json", f".{secrets.token_hex(8)}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(partial, flags, 0o644, dir_fd=self.results), "wb") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(msgspec.json.encode(result))
                file.flush()
                os.fsync(file.fileno())
            os.rename(partial, name, src_dir_fd=self.results, dst_dir_fd=self.results)
            os.fsync(self.results)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(partial, dir_fd=self.results)
            raise MachineProblem(f"the result of a request: {error.strerror}", "free space on the disk") from None
        self._prune()

    def _prune(self) -> None:
        ages = []
        with os.scandir(self.results) as entries:
            for entry in islice(entries, 16 * MAX_RESULTS):
                with contextlib.suppress(OSError):
                    ages.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
        for _, name in sorted(ages)[:-MAX_RESULTS]:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self.results)

    def _read_head(self, identity: str) -> ChangeRequest:
        try:
            request = msgspec.json.decode(self._read(f"{identity}.json", _MAX_HEAD_BYTES), type=ChangeRequest)
        except UNREADABLE as error:
            raise UnusableRequest(f"not a request: {str(error)[:200]}") from None
        if request.id != identity:
            raise UnusableRequest("its file has another name")
        return request

    def _read(self, name: str, most: int) -> bytes:
        """A file of the folder of requests."""
        try:
            with open(os.open(name, _FILE, dir_fd=self.requests), "rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                    raise UnusableRequest(f"{name} is no file of its own")
                if found.st_uid not in (self.owner, 0):
                    raise UnusableRequest(f"{name} belongs to another user")
                content = file.read(most + 1)
        except OSError as error:
            raise UnusableRequest(f"{name}: {error.strerror}") from None
        if len(content) > most:
            raise UnusableRequest(f"{name} is larger than {most} bytes")
        return content

    def _remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            try:
                os.unlink(name, dir_fd=self.requests)
            except OSError:  # a folder
                with contextlib.suppress(OSError):
                    os.rename(name, f".{secrets.token_hex(8)}", src_dir_fd=self.requests, dst_dir_fd=self.requests)

    def _open(self, name: str, flags: int, parent: int | None = None) -> int:
        descriptor = os.open(name, flags, dir_fd=parent)
        self.opened.callback(os.close, descriptor)
        return descriptor
