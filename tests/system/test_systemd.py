"""The unit under systemd as process 1: start, reload, watchdog, sandbox, stop, and a second boot.

The machine is a systemd-nspawn container on a copy-on-write view of this machine. It runs this project as a wheel
installs it, as the user that the unit names.
"""

from __future__ import annotations

import shutil
import subprocess
import time

import numpy as np
import pytest
from auditor import PersistentSubscriber
from copied_machine import MARKS, boot, copied_machine, wait_for_report
from mosquitto import Mosquitto

pytestmark = MARKS

# An administrator's drop-in: the password, a shorter watchdog timeout, and two writes that the sandbox must deny.
DROP_IN = """\
[Service]
LoadCredential=mqtt-password:/etc/vedette/mqtt-password
WatchdogSec=6
ExecStartPost=-!/bin/touch /etc/vedette/denied /usr/denied
"""
PROOF_TARGET = "[Unit]\nRequires=basic.target proof.service\nAfter=basic.target\n"
PROOF = """\
import json, os, signal, subprocess, time
from pathlib import Path

UNIT, RESULTS = "vedette@door", Path("/results")

def run(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()

def unit(name):
    return run("systemctl", "show", "-P", name, UNIT)

def status():
    try:
        return json.loads(run("/opt/vedette/bin/vedette", "status", "door", "--json"))[0]
    except (ValueError, IndexError):
        return {}

def wait_until(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            log = run("journalctl", "-u", UNIT, "--no-pager", "-n", "20")
            command = subprocess.run(["/opt/vedette/bin/vedette", "status", "door"], capture_output=True, text=True)
            raise SystemExit(f"waited {seconds} s for {what}: {log} {command.stdout}{command.stderr}")
        time.sleep(0.5)
    return result

def report(name, **facts):
    (RESULTS / "new").write_text(json.dumps(facts))
    (RESULTS / "new").rename(RESULTS / name)

def journal(text):
    return text in run("journalctl", "-u", UNIT, "--no-pager")

def configure(text):
    new = Path("/run/new.toml")
    new.write_text(text)
    command = ["/opt/vedette/bin/vedette", "configure", str(new), "--camera", "door", "--watch", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    return [done.returncode, done.stdout + done.stderr]

run("systemctl", "start", UNIT)
wait_until(lambda: unit("ActiveState") == "active", "the unit")
if not (RESULTS / "first").exists():
    wait_until(lambda: status().get("connected"), "the broker, which asks for the password")
    rule = Path("/etc/vedette/cameras/door.toml")
    rule.write_text(rule.read_text().replace("hysteresis = 0.0", "hysteresis = 0.05"))
    run("systemctl", "reload", UNIT)
    wait_until(lambda: journal("reloaded: 1 rules"), "the reload")
    valid = rule.read_text()
    rule.write_text(valid + "nonsense = 1\\n")
    run("systemctl", "reload", UNIT)
    wait_until(lambda: journal("not reloaded"), "the refusal of an invalid file")
    rule.write_text(valid)
    good, bad = configure(valid + "# new\\n"), configure(valid.replace("file:/opt/line", "file:/home/line"))
    kept = [rule.read_text() == valid + "# new\\n", Path(f"{rule}.last").read_text() == valid]
    wait_until(lambda: status().get("frames"), "the daemon with the last good file")
    pid = unit("MainPID")
    os.kill(int(pid), signal.SIGSTOP)
    wait_until(lambda: unit("MainPID") not in (pid, "0") and unit("ActiveState") == "active", "the watchdog")
    wait_until(lambda: status().get("connected"), "the restarted daemon")
    user = run("ps", "-o", "user=", "-p", unit("MainPID"))
    written = [str(path) for path in (Path("/etc/vedette/denied"), Path("/usr/denied")) if path.exists()]
    watchdog = journal("watchdog") or journal("Watchdog")
    denied = journal("/usr/denied': Read-only file system")
    restarts = int(unit("NRestarts"))
    report("configured", good=good, bad=bad, kept=kept)
    report("first", watchdog=watchdog, restarts=restarts, user=user, written=written, denied=denied)
    wait_until(lambda: status().get("connected") is False, "the broker to go")
    backlog = wait_until(lambda: status().get("backlog", 0) > 30 and status()["backlog"], "a backlog")
    report("backlog", backlog=backlog)
else:
    report("second", backlog=wait_until(lambda: status().get("backlog"), "the daemon"))
    wait_until(lambda: status().get("connected"), "the broker")
    run("systemctl", "stop", UNIT)
    report("end", state=unit("ActiveState"), result=unit("Result"))
"""


@pytest.fixture
def machine(tmp_path, daemon_process, line_images):
    """The root directory of the container, with the project installed as in deploy/, and the folder of results."""
    with copied_machine(tmp_path, PROOF, PROOF_TARGET, ["vedette@.service"]) as (root, results):
        etc, units = root / "etc/vedette", root / "etc/systemd/system"
        (etc / "cameras").mkdir()
        shutil.copytree(line_images, root / "opt/line")
        shutil.copy(daemon_process.bundle, etc / "weave.vedette")
        shutil.copytree(daemon_process.keys, etc / "keys", ignore=shutil.ignore_patterns("*.key"))
        subprocess.run(["chmod", "-R", "a+rX", etc, root / "opt/line"], check=True)
        (etc / "mqtt-password").write_text("s3cret\n")
        (etc / "mqtt-password").chmod(0o600)
        (units / "vedette@.service.d").mkdir()
        (units / "vedette@.service.d/proof.conf").write_text(DROP_IN)
        yield root, results


def test_unit_starts_reloads_recovers_and_is_sandboxed(machine, tmp_path, record_proof):
    root, results = machine
    passwords = tmp_path / "passwords"
    passwords.write_text("box:s3cret\n")
    subprocess.run(["mosquitto_passwd", "-U", passwords], check=True)
    broker = Mosquitto(tmp_path / "broker", f"password_file {passwords}\n")
    broker.config.write_text(broker.config.read_text().replace("allow_anonymous true\n", "allow_anonymous false\n"))
    etc = root / "etc/vedette"
    (etc / "vedette.toml").write_text(
        f'[device]\nname = "box"\n[broker]\nurl = "mqtt://127.0.0.1:{broker.port}"\nusername = "box"\n'
        f'password_file = "credential:mqtt-password"\n[outbox]\nvolatile = true\n'
    )
    (etc / "cameras/door.toml").write_text(
        'source = "file:/opt/line?fps=20&loop=true"\nbundle = "../weave.vedette"\n'
        '[[rules]]\nuse = "presence"\nhysteresis = 0.0\n'
    )
    broker.start()
    subscriber = PersistentSubscriber(broker.port, ("box", "s3cret"))
    container = boot(root, results)
    try:
        first = wait_for_report(container, results, "first")
        configured = wait_for_report(container, results, "configured")
        assert configured["good"][0] == 0, configured
        assert configured["bad"][0] == 2, configured
        assert "the file from before is back" in configured["bad"][1]
        assert configured["kept"] == [True, True]
        assert first["user"] == "vedette"
        assert first["watchdog"]
        assert first["restarts"] >= 1
        assert first["denied"]
        assert first["written"] == [], "the sandbox denies writes to /etc and /usr, also to root"
        broker.kill()
        backlog = wait_for_report(container, results, "backlog")["backlog"]
        assert container.wait(60) == 0
        container = boot(root, results)
        second = wait_for_report(container, results, "second")["backlog"]
        assert second >= backlog
        broker.start()
        end = wait_for_report(container, results, "end")
        assert end == {"state": "inactive", "result": "success"}
        assert container.wait(60) == 0
        time.sleep(2)
    finally:
        container.kill()
        container.wait()
        broker.kill()
    numbers = set(subscriber.numbers)
    subscriber.close()
    missing = set(range(1, max(numbers) + 1)) - numbers
    record_proof(2, len(missing), events=max(numbers), backlog=backlog)
    assert not missing
    assert np.unique([event["epoch"] for event in subscriber.events]).size == 1
