"""The workshop's page is ended during a build: the build ends too, and nothing half written stays."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from products import write_anomaly_images
from waiting import wait_for

pytestmark = pytest.mark.slow


class Client:
    """A signed-in program."""

    def __init__(self, link: str) -> None:
        self.base, _, secret = link.partition("/sign-in#")
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self.opener.addheaders = [("Accept", "text/html")]
        self.opener.open(f"{self.base}/sign-in", urllib.parse.urlencode({"secret": secret}).encode()).read()

    def start_build(self) -> None:
        page = self.opener.open(f"{self.base}/builds").read().decode()
        found = re.search(r'name="csrf" content="([^"]+)"', page)
        assert found is not None
        headers = {"X-CSRF-Token": found[1], "Content-Type": "application/json"}
        self.opener.open(urllib.request.Request(f"{self.base}/builds/start", b"{}", headers)).read()


def list_processes(folder: Path) -> list[str]:
    """Command lines of the processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_end_of_the_page_ends_its_build(tmp_path: Path, number: signal.Signals) -> None:
    folder, temporary = tmp_path / "part", tmp_path / "temporary"
    temporary.mkdir()
    folder.mkdir()
    write_anomaly_images(folder)
    environment = os.environ | {"XDG_CONFIG_HOME": str(tmp_path / "config"), "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "vedette.runtime.cli", "studio", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as studio:
        assert studio.stdout is not None
        try:
            Client(studio.stdout.readline().removeprefix("open ").strip()).start_build()
            log = folder / "builds" / "1" / "build.log"
            wait_for(lambda: log.exists() and "] " in log.read_text(), "the first steps", 120)
            assert len(list_processes(folder / "builds")) == 1
            studio.send_signal(number)
            studio.wait(120)
        finally:
            studio.kill()
    assert list_processes(folder) == []
    assert sorted(path.name for path in log.parent.iterdir()) == ["build.log", "state.json"]
    assert json.loads((log.parent / "state.json").read_text())["is_cancelled"] is True
    assert [path.name for path in temporary.rglob("*") if not path.name.startswith("torch")] == []
