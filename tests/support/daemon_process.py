"""The real daemon in a process of its own, with its configuration folder."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path

NO_BROKER = "mqtt://127.0.0.1:1"


class DaemonProcess:
    """A configuration folder for one camera, and the real daemon in a process of its own."""

    def __init__(self, folder: Path, bundle: Path, keys: Path) -> None:
        self.folder = folder
        self.bundle = bundle
        self.keys = keys
        (folder / "cameras").mkdir(parents=True)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.no_broker = f"mqtt://127.{'.'.join(str(1 + byte % 254) for byte in uuid.uuid4().bytes[:3])}:1"
        """An address where no broker listens."""
        self.prefix: list[str] = []
        self.outbox = folder / "state" / "door" / "outbox.db"
        self.camera_file = folder / "cameras" / "door.toml"

    def configure(self, source: str, url: str, rule: str = "hysteresis = 0.0", **camera: str) -> None:
        drain = ""
        if url == NO_BROKER:  # one for each, because a second daemon with one identity at one broker is refused
            url, drain = self.no_broker, "drain = 0.2\n"  # no broker will take the events, however long it waits
        self.folder.joinpath("vedette.toml").write_text(
            f"[outbox]\nvolatile = true\n{drain}"
            f'[device]\nname = "box"\nsite = "plant"\narea = "hall"\nline = "line1"\nkeys = "{self.keys}"\n'
            f'[broker]\nurl = "{url}"\nprefix = "test"\n'
        )
        extra = "".join(f'{key} = "{value}"\n' for key, value in camera.items())
        self.camera_file.write_text(
            f'source = "{source}"\nbundle = "{self.bundle}"\n{extra}[[rules]]\nuse = "presence"\n{rule}\n'
        )

    def amend(self, table: str, text: str) -> None:
        """Adds lines to a table of vedette.toml; the time to drain the outbox replaces the one that is there."""
        path = self.folder / "vedette.toml"
        content = path.read_text()
        if text.startswith("drain ="):
            content = re.sub(r"^drain = .*\n", "", content, flags=re.MULTILINE)
        path.write_text(content.replace(f"[{table}]\n", f"[{table}]\n{text}\n"))

    def append(self, text: str) -> None:
        """Adds lines at the end of the camera's file."""
        self.camera_file.write_text(f"{self.camera_file.read_text()}{text}\n")

    def set_rules(self, text: str) -> None:
        """Replaces what follows the first rule in the camera's file, that included."""
        head, _, _ = self.camera_file.read_text().partition("[[rules]]")
        self.camera_file.write_text(head + text)

    def start(self, *cameras: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        command = [
            *self.prefix,
            sys.executable,
            "-m",
            "vedette.runtime.cli",
            "run",
            *(cameras or ("door",)),
            "--config",
            str(self.folder),
        ]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, stderr=log, stdout=subprocess.PIPE, env={**os.environ, **(environment or {})}
            )
        self.processes.append(process)
        return process

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def recorded(self) -> int:
        """How many events were ever recorded."""
        return self._ask("SELECT coalesce(max(seq), 0) FROM sqlite_sequence")

    def waiting(self) -> int:
        return self._ask("SELECT count(*) FROM events WHERE NOT delivered")

    def _ask(self, query: str) -> int:
        if not self.outbox.exists():
            return 0
        database = sqlite3.connect(f"file:{self.outbox}?mode=ro", uri=True, timeout=5)
        try:
            return int(database.execute(query).fetchone()[0])
        except sqlite3.DatabaseError:  # it is being made, or mended
            return 0
        finally:
            database.close()

    def kill(self) -> None:
        """Ends the processes that still run."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
