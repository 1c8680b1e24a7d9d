"""Requests of the daemon's user under systemd as process 1: the path unit, the narrow service, the daemon's restart."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from click.testing import CliRunner
from copied_machine import MARKS, boot, copied_machine, wait_for_report
from mosquitto import Mosquitto

from vedette.deploy.commands.fleet import fleet

pytestmark = MARKS

TARGET = "[Unit]\nRequires=basic.target proof.service\nAfter=basic.target\n"
DROP_IN = """\
[Service]
ExecStart=
ExecStart=/opt/vedette/bin/vedette configure --requests --watch 2
ExecStartPost=-!/bin/touch /etc/vedette/denied /usr/denied
"""
PROOF = """\
import json, subprocess, sys, threading, time
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
wait_until(lambda: status().get("connected"), "the daemon")
(RESULTS / "up").write_text("true")
wait_until((RESULTS / "go").exists, "the fleet", 900)
old = FILE.read_text()
good = ask(old.replace("hysteresis = 0.0", "hysteresis = 0.05"))
if good["outcome"] != "applied":
    raise SystemExit(json.dumps(good) + run("journalctl", "-u", "vedette-configure.service", "--no-pager"))
kept = [FILE.read_text() != old, Path(f"{FILE}.last").read_text() == old, FILE.stat().st_uid == 0]
new = FILE.read_text()
elsewhere = ask(new.replace("file:/opt/line", "file:/home/line"))
wrong = ask(new.replace('"presence"', '"presents"'))

def break_camera():
    while FILE.read_text() == new:
        time.sleep(0.01)
    Path("/opt/line").rename("/opt/gone")

wait_until(lambda: status().get("frames"), "the daemon with the new file")
threading.Thread(target=break_camera).start()  # as soon as the file is there
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


def roll_out(file, folder, key, port):
    """`vedette fleet config` with a good part, one that the box refuses, and the way back; what each left there."""
    before, found = file.read_text(), []
    good, bad = folder / "good.toml", folder / "bad.toml"
    good.write_text('[[rules]]\nuse = "presence"\ndebounce = 2\n')
    bad.write_text('[[rules]]\nuse = "presence"\nlabels = ["unicorn"]\n')
    for number, (name, *arguments) in enumerate((("config", good), ("config", bad), ("rollback", "--config"))):
        rollout = folder / f"{number % 2}.json"
        command = [name, *map(str, arguments), "--file", str(rollout), "--key", str(key)]
        done = CliRunner().invoke(fleet, [*command, "--broker", f"mqtt://127.0.0.1:{port}"])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        found.append((done.exit_code, "debounce" in file.read_text(), file.read_text() == before, done.output))
    return found


def test_the_service_applies_refuses_and_takes_back(machine, tmp_path, daemon_process):
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
        wait_for_report(container, results, "up", 300)
        orders = roll_out(etc / "cameras/door.toml", tmp_path, daemon_process.keys / "vedette.key", broker.port)
        (results / "go").touch()
        end = wait_for_report(container, results, "end", 600)
    finally:
        container.kill()
        container.wait()
        broker.kill()
    assert [each[:3] for each in orders] == [(0, True, False), (1, True, False), (0, False, True)], orders
    assert "unicorn" in orders[1][3]
    assert (end["good"]["outcome"], end["good"].get("reason", "")) == ("applied", ""), end["log"]
    assert (end["good"]["changed"], end["kept"]) == (["rules"], [True, True, True])
    assert (end["good"]["mode"], end["good"]["owner"]) == ("0o644", 0)
    assert end["elsewhere"]["outcome"] == "refused"
    assert "may not change source" in end["elsewhere"]["reason"]
    assert (end["wrong"]["outcome"], "presents" in end["wrong"]["reason"]) == ("refused", True)
    assert (end["lost"]["outcome"], end["same"]) == ("rolled_back", True), end["lost"]
    assert (end["written"], end["service"]["Result"], end["path"]) == ([], "success", "active")
