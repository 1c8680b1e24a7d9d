"""The page's unit under systemd as process 1: without root it installs a release, goes back, and can do no more."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from altered_bundles import sign_altered
from copied_machine import MARKS, boot, copied_machine, wait_for_report

pytestmark = MARKS
TOKEN = "0123456789abcdef" * 4
# Two writes that the sandbox must deny.
DROP_IN = "[Service]\nExecStartPost=-/bin/touch /etc/vedette/denied /usr/denied\n"
TARGET = "[Unit]\nRequires=basic.target proof.service\nAfter=basic.target\n"
PROOF = """\
import json, subprocess, time, urllib.error, urllib.request
from pathlib import Path

UNIT, RESULTS, HOME = "vedette-page", Path("/results"), "http://127.0.0.1:PORT/health/models"
HEADERS = {"Authorization": "Bearer TOKEN"}

def run(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()

def unit(name):
    return run("systemctl", "show", "-P", name, UNIT)

def ask(path, content=None):
    body = content if isinstance(content, (bytes, type(None))) else json.dumps(content).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(HOME + path, body, HEADERS), timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except urllib.error.URLError as error:
        return 0, str(error).encode()

def wait_until(condition, what, seconds=120):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            log = run("journalctl", "-u", UNIT, "--no-pager", "-n", "20")
            raise SystemExit(f"waited {seconds} s for {what}: {log}")
        time.sleep(0.5)
    return result

def read(path, content):
    status, body = ask(path, content)
    if status != 200:
        raise SystemExit(f"{path}: {status} {body.decode()}")
    return json.loads(body)

def resident():
    # Of the page and of what it has started, megabytes; pages that they share count more than once.
    return sum(int(line) for line in run("ps", "-o", "rss=", "-u", "vedette").split()) >> 10

def follow(work):
    global peak
    deadline = time.monotonic() + 300
    while (got := ask(f"/work/{work}"))[0] == 204 and time.monotonic() < deadline:
        peak = max(peak, resident())
        time.sleep(0.02)
    return json.loads(got[1] or b"{}")

def install(path):
    content = Path(path).read_bytes()
    upload = read("/upload", {"bytes": len(content)})["upload"]
    for offset in range(0, len(content), 1 << 20):
        read(f"/upload/{upload}?offset={offset}", content[offset : offset + (1 << 20)])
    seen = read("/check", {"upload": upload})
    wish = {"upload": upload, "minutes": 10, "name": seen["name"], "current": seen["current"]}
    return follow(read("/install", wish)["work"])

def current():
    return Path("/var/lib/vedette/models/weave/current").readlink().name

run("systemctl", "start", UNIT)
wait_until(lambda: ask("")[0] == 200, "the page")
rest = peak = resident()
installed = [install(f"/opt/weave-{release}.vedette") for release in (1, 2)]
on_probation = current()
seen = read("/rollback", {"name": "weave", "save": False})
back = follow(read("/rollback", {"name": "weave", "save": True, "current": 2, "previous": 1})["work"])
facts = {
    "installed": installed, "on_probation": on_probation, "back": back, "current": current(),
    "user": run("ps", "-o", "user=", "-p", unit("MainPID")), "restarts": unit("NRestarts"),
    "written": [name for name in ("/etc/vedette/denied", "/usr/denied") if Path(name).exists()],
    "owner": Path("/var/lib/vedette/models/weave/1/bundle.vedette").owner(),
    "left": [path.name for path in Path("/var/lib/vedette/.upload").iterdir()],
    "megabytes": {"rest": rest, "peak": peak},
}
run("systemctl", "stop", UNIT)
facts["result"] = unit("Result")
(RESULTS / "new").write_text(json.dumps(facts))
(RESULTS / "new").rename(RESULTS / "page")
"""


@pytest.fixture
def machine(tmp_path: Path, key_folder: Path) -> Iterator[tuple[Path, Path]]:
    """A machine with the unit, and two releases that wait to be installed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    proof = PROOF.replace("PORT", str(port)).replace("TOKEN", TOKEN)
    with copied_machine(tmp_path, proof, TARGET, ["vedette-page.service"]) as (root, results):
        etc, drop_ins = root / "etc/vedette", root / "etc/systemd/system/vedette-page.service.d"
        for folder in (etc / "cameras", etc / "secrets", drop_ins):
            folder.mkdir(parents=True)
        shutil.copytree(key_folder, etc / "keys", ignore=shutil.ignore_patterns("*.key"))
        for release in (1, 2):
            sign_altered(root / f"opt/weave-{release}.vedette", key_folder, release=release)
        (etc / "vedette.toml").write_text(
            f'[device]\nname = "box"\n[page]\nlisten = "127.0.0.1:{port}"\ntoken_file = "secrets/page-token"\n'
        )
        (etc / "cameras/door.toml").write_text(
            'source = "file:/opt/line"\nbundle = "installed:weave"\n[[rules]]\nuse = "presence"\n'
        )
        (etc / "secrets/page-token").write_text(f"{TOKEN}\n")
        subprocess.run(["chmod", "-R", "a+rX", etc], check=True)
        subprocess.run(["chroot", root, "chown", "-R", "root:vedette", "/etc/vedette/secrets"], check=True)
        subprocess.run(["chmod", "640", etc / "secrets/page-token"], check=True)
        (drop_ins / "proof.conf").write_text(DROP_IN)
        yield root, results


def test_page_unit_installs_and_goes_back(machine: tuple[Path, Path], record_proof: Callable[..., None]) -> None:
    container = boot(*machine)
    try:
        found = wait_for_report(container, machine[1], "page", 600)
        assert container.wait(120) == 0
    finally:
        container.kill()
        container.wait()
    assert [each["outcome"] for each in found["installed"]] == ["done", "done"]
    assert (found["on_probation"], found["back"]["outcome"], found["current"]) == ("2", "done", "1")
    assert (found["user"], found["owner"], found["restarts"], found["result"]) == ("vedette", "vedette", "0", "success")
    assert found["written"] == [], "the sandbox denies writes to /etc and /usr"
    assert found["left"] == []
    record_proof(3, 0, **found["megabytes"])
    assert found["megabytes"]["rest"] <= 120, found["megabytes"]
    assert found["megabytes"]["peak"] <= 384, found["megabytes"]
