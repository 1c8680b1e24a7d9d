"""A real PostgreSQL (Debian's package) in processes of its own, reached by a socket in its folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

BINARIES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


class Postgres:
    """An empty cluster with the superuser `postgres`. It refuses to run as root, so root runs it as that user."""

    def __init__(self) -> None:
        assert BINARIES is not None
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))  # not below pytest's folder: the name of a socket is short
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self._user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if self._user:
            shutil.chown(self.folder, "postgres", "postgres")
        self._run(
            "initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", f"--pgdata={self.data}"
        )

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c max_connections=20"
        self._run("pg_ctl", f"--pgdata={self.data}", f"--log={self.log}", "--wait", f"--options={options}", "start")

    def stop(self, mode: str = "immediate") -> None:
        """Ends the server; `immediate` is like a crash."""
        self._run("pg_ctl", f"--pgdata={self.data}", "--wait", f"--mode={mode}", "stop")

    def remove(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder)

    def address(self, database: str = "postgres", user: str = "postgres") -> str:
        """A connection string."""
        return f"host={self.folder} dbname={database} user={user}"

    def run_file(self, file: Path, database: str = "postgres") -> None:
        """Runs a file as docs/database.md says."""
        command = ["psql", "--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--file", str(file)]
        done = subprocess.run([*command, self.address(database)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def _run(self, program: str, *arguments: str) -> None:
        assert BINARIES is not None
        options: dict[str, Any] = {"cwd": "/", "stdin": subprocess.DEVNULL}
        with tempfile.TemporaryFile() as output:  # not a pipe: the server would keep it open
            code = subprocess.call(
                [*self._user, str(BINARIES / program), *arguments], stdout=output, stderr=output, **options
            )
            output.seek(0)
            assert code == 0, output.read().decode()
