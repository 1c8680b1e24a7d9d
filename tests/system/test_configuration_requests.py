"""Requests of the daemon's user under systemd as process 1: the path unit, the narrow service, the daemon's restart."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from copied_machine import MARKS, boot, copied_machine, wait_for_report
from mosquitto import Mosquitto

pytestmark = MARKS

TARGET = "[Unit]\nRequires=basic.target proof.service\nAfter=basic.target\n"
DROP_IN = """\
[Service]
ExecStart=
ExecStart=/opt/vedette/bin/vedette configure --requests --watch 2
ExecStartPost=-!/bin/touch /etc/vedette/denied /usr/denied
"""
PROOF = """\
import json, subprocess, sys, time
from pathlib import Path

UNIT, RESULTS, FILE = "vedette@door", Path("/results"), Path("/etc/vedette/cameras/door.toml")
ASK = (
    "import sys; from pathlib import Path; "
    "from vedette.runtime.installation.configuration.change_requests import request_change; "
    "folder = Path('/etc/vedette'); state = Path('/var/lib/vedette'); "
    "print(request_change(state, 'door', sys.stdin.read(), 'page', 'ann', folder=folder))"
)
RESULT = Path("/var/lib/vedette/configuration/results")

def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, **more).stdout.strip()

def status():
    try:
        return json.loads(run("/opt/vedette/bin/vedette", "status", "door", "--json"))[0]
    except (ValueError, IndexError):
        return {}

def wait_until(condition, what, seconds=120):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            log = run("journalctl", "--no-pager", "-n", "80")
            raise SystemExit(f"waited {seconds} s for {what}: {log}")
        time.sleep(0.5)
    return result

def ask(text):
    environment = "PYTHONHOME=/opt/python LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/vedette/lib:/opt/packages"
    user = ["runuser", "-u", "vedette", "--", "env", "-C", "/", "PYTHONDONTWRITEBYTECODE=1", *environment.split()]
    done = subprocess.run([*user, "/opt/python/bin/python3", "-c", ASK], input=text, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    path = RESULT / f"{done.stdout.strip()}.json"
    wait_until(path.exists, "the result")
    found = path.stat()
    return json.loads(path.read_text()) | {"mode": oct(found.st_mode & 0o777), "owner": found.st_uid}

run("systemctl", "start", "vedette-configure.path", UNIT)
wait_until(lambda: status().get("frames"), "the daemon")
old = FILE.read_text()
good = ask(old.replace("hysteresis = 0.0", "hysteresis = 0.05"))
if good["outcome"] != "applied":
    raise SystemExit(json.dumps(good) + run("journalctl", "-u", "vedette-configure.service", "--no-pager"))
kept = [FILE.read_text() != old, Path(f"{FILE}.last").read_text() == old, FILE.stat().st_uid == 0]
new = FILE.read_text()
elsewhere = ask(new.replace("file:/opt/line", "file:/home/line"))
wrong = ask(new.replace('"presence"', '"presents"'))
Path("/opt/line").rename("/opt/gone")  # the camera breaks while the next change is watched
lost = ask(new + "debounce = 2\\n")
Path("/opt/gone").rename("/opt/line")
same = FILE.read_text() == new
written = [path for path in ("/etc/vedette/denied", "/usr/denied") if Path(path).exists()]
service = {
    name: run("systemctl", "show", "-P", name, "vedette-configure.service") for name in ("Result", "ActiveState")
}
path = run("systemctl", "is-active", "vedette-configure.path")
results = dict(good=good, kept=kept, elsewhere=elsewhere, wrong=wrong, lost=lost, same=same, written=written)
log = run("journalctl", "-u", "vedette-configure.service", "--no-pager", "-n", "40")
text = json.dumps(results | dict(service=service, path=path, log=log))
(RESULTS / "new").write_text(text)
(RESULTS / "new").rename(RESULTS / "end")
"""


@pytest.fixture
def machine(tmp_path, daemon_process, line_images):
    units = ["vedette@.service", "vedette-configure.path", "vedette-configure.service"]
    with copied_machine(tmp_path, PROOF, TARGET, units) as (root, results):
        etc, system = root / "etc/vedette", root / "etc/systemd/system"
        (etc / "cameras").mkdir()
        shutil.copytree(line_images, root / "opt/line")
        shutil.copy(daemon_process.bundle, etc / "weave.vedette")
        shutil.copytree(daemon_process.keys, etc / "keys", ignore=shutil.ignore_patterns("*.key"))
        subprocess.run(["chmod", "-R", "a+rX", etc, root / "opt/line"], check=True)
        (system / "vedette-configure.service.d").mkdir()
        (system / "vedette-configure.service.d/proof.conf").write_text(DROP_IN)
        yield root, results


def test_the_service_applies_refuses_and_takes_back(machine, tmp_path):
    root, results = machine
    broker = Mosquitto(tmp_path / "broker")
    etc = root / "etc/vedette"
    (etc / "vedette.toml").write_text(
        f'[device]\nname = "box"\n[broker]\nurl = "mqtt://127.0.0.1:{broker.port}"\n[outbox]\nvolatile = true\n'
    )
    (etc / "cameras/door.toml").write_text(
        'source = "file:/opt/line?fps=20&loop=true"\nbundle = "../weave.vedette"\n'
        '[[rules]]\nuse = "presence"\nhysteresis = 0.0\n'
    )
    broker.start()
    container = boot(root, results)
    try:
        end = wait_for_report(container, results, "end", 600)
    finally:
        container.kill()
        container.wait()
        broker.kill()
    assert (end["good"]["outcome"], end["good"].get("reason", "")) == ("applied", ""), end["log"]
    assert (end["good"]["changed"], end["kept"]) == (["rules"], [True, True, True])
    assert (end["good"]["mode"], end["good"]["owner"]) == ("0o644", 0)
    assert end["elsewhere"]["outcome"] == "refused"
    assert "may not change source" in end["elsewhere"]["reason"]
    assert (end["wrong"]["outcome"], "presents" in end["wrong"]["reason"]) == ("refused", True)
    assert (end["lost"]["outcome"], end["same"]) == ("rolled_back", True), end["lost"]
    assert (end["written"], end["service"]["Result"], end["path"]) == ([], "success", "active")
