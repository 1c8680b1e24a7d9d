"""A program that serves HTTP at a free port of this machine, in a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from waiting import patience, wait_for


class ServedProgram:
    """Started; `ready` is the path that answers once it runs.

    Args:
        command: makes the command line of a port
        log: file for what it writes
        ready: a path that it answers
    """

    def __init__(self, command: Callable[[int], list[str | Path]], log: Path, ready: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(command(self.port), stdout=file, stderr=file)
        wait_for(lambda: self._answers(ready), f"{log.name}:\n{log.read_text()}", seconds=60)

    def _answers(self, path: str) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            self.request(path)
        except (OSError, urllib.error.URLError):
            return False
        return True

    def request(self, path: str, body: Any = None, **headers: str) -> bytes:
        """The answer to GET, or to POST of JSON if there is a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json", **headers})
        with urllib.request.urlopen(request, timeout=30 * patience()) as answer:
            return bytes(answer.read())

    def __enter__(self) -> ServedProgram:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
