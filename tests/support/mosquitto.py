"""A real mosquitto (Debian's package) in a process of its own, which can be frozen, killed and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

BINARY = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Mosquitto:
    """One that keeps what it has taken, as docs/delivery.md asks for; `more` is added to its configuration."""

    def __init__(self, folder: Path, more: str = "", host: str = "127.0.0.1") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host = host
        with socket.create_server((host, 0)) as probe:
            self.port = probe.getsockname()[1]
        self.config = folder / "mosquitto.conf"
        self.config.write_text(
            f"listener {self.port} {host}\nuser root\nallow_anonymous true\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n"
            f"max_queued_messages 100000\nmax_inflight_messages 20\n{more}"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert BINARY is not None
        with self.config.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen([BINARY, "-c", self.config], stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((self.host, self.port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError(self.config.with_suffix(".log").read_text())

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
