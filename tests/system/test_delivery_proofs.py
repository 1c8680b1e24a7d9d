"""What docs/delivery.md promises, tried for minutes: processes killed at random, power cut in the middle of a write.

Each proof has its control, which does the same to something that keeps no promise, and must see it lose.
"""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from auditor import Auditor
from mosquitto import BINARY, Mosquitto

pytestmark = pytest.mark.slow
KILL_SECONDS = 60
CUTS = 20
SYNCS = 50

needs_mosquitto = pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto")


def kill_at_random(start, broker, seconds, rng):
    """Starts a process, and kills it or the broker every now and then; how often each was killed."""
    until, process, kills = time.monotonic() + seconds, start(), {"daemon": 0, "broker": 0}
    while time.monotonic() < until:
        time.sleep(rng.uniform(0.6, 3.0))
        if rng.random() < 0.7:
            kills["daemon"] += 1
            process.kill()
            process.wait()
            process = start()
        else:
            kills["broker"] += 1
            broker.kill()
            time.sleep(rng.uniform(0, 1.0))
            broker.start()
    return process, kills


@needs_mosquitto
def test_daemon_and_broker_are_killed(device, line, tmp_path, prove, eventually):
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    auditor = Auditor(broker.port)
    device.configure(f"file:{line}?fps=60&loop=true", f"mqtt://127.0.0.1:{broker.port}")
    process, kills = kill_at_random(device.start, broker, KILL_SECONDS, random.Random(1))
    eventually(lambda: device.waiting() < 50, "the backlog to go", seconds=120)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, device.log()
    device.amend("outbox", "drain = 20.0")
    device.configure(f"file:{line}?fps=0", f"mqtt://127.0.0.1:{broker.port}")
    assert device.start().wait(60) == 0
    recorded = device.recorded()
    everything = set(range(1, recorded + 1))
    missing = lambda: everything - set(auditor.numbers)  # noqa: E731
    deadline = time.monotonic() + 30
    while missing() and time.monotonic() < deadline:
        time.sleep(0.2)
    broker.kill()
    auditor.close()
    copies = len(auditor.numbers) - len(set(auditor.numbers))
    figures = {"events": recorded, "duplicates": copies, "inversions": auditor.inversions(), **kills}
    prove(sum(kills.values()), len(missing()), **figures)
    assert not missing()
    assert recorded > 500
    assert min(kills.values()) >= 3


NAIVE = """
import sys, time, json
from paho.mqtt.client import CallbackAPIVersion, Client
from paho.mqtt.enums import MQTTProtocolVersion
port, count = int(sys.argv[1]), open(sys.argv[2], "a")
client = Client(CallbackAPIVersion.VERSION2, "naive", protocol=MQTTProtocolVersion.MQTTv5)
client.reconnect_delay_set(1, 2)
client.connect_async("127.0.0.1", port)
client.loop_start()
number = int(sys.argv[3])
while True:
    number += 1
    count.write(f"{number}\\n")
    count.flush()
    client.publish("naive/event", json.dumps({"sequence": number}), qos=1)
    time.sleep(1 / 40)
"""


@needs_mosquitto
def test_control_a_library_that_queues_in_memory_loses(tmp_path, prove):
    """Paho at QoS 1 with its own queue, under the same kills."""
    broker, counted = Mosquitto(tmp_path / "broker"), tmp_path / "count"
    counted.touch()
    broker.start()
    auditor = Auditor(broker.port)

    def start():
        last = [0, *map(int, counted.read_text().split())][-1]
        return subprocess.Popen([sys.executable, "-c", NAIVE, str(broker.port), str(counted), str(last)])

    process, kills = kill_at_random(start, broker, KILL_SECONDS / 2, random.Random(1))
    time.sleep(5)
    process.kill()
    process.wait()
    time.sleep(2)
    broker.kill()
    auditor.close()
    published = set(map(int, counted.read_text().split()))
    lost = published - set(auditor.numbers)
    prove(sum(kills.values()), len(lost), events=len(published))
    assert lost, "else the proof proves nothing"


WRITER = """
import sys, time
from pathlib import Path
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.event import Event, new_id
outbox = Outbox(Path(sys.argv[1]), 16 << 20, volatile=True)
outbox.database.execute(f"PRAGMA synchronous = {sys.argv[2]}")
while True:
    i = new_id()
    print(outbox.put(Event(i, i, "door", "presence", "new", 0.0, 0, 0.0, 1.0)), flush=True)
    time.sleep(0.001)  # so that what is read here is never behind what is written there
"""


def _listen(stream, told):
    for text in stream:
        told.append(int(text))


def cut(folder, synchronous, cuts, rng):
    """Copies a mounted disk while something is recorded on it; how many promised events each copy lacks, and damage."""
    image, copy, disk, later = (folder / name for name in ("image", "copy", "disk", "later"))
    for each in (disk, later):
        each.mkdir()
    lost, damaged = [], 0
    for _ in range(cuts):
        with image.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        if subprocess.run(["mount", "-o", "loop", image, disk], check=False).returncode:
            pytest.skip("mounting needs root and a loop device")
        command = [sys.executable, "-u", "-c", WRITER, str(disk / "outbox.db"), synchronous]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            told = [0]  # what it has promised, read at once so that it need not wait for us
            reader = threading.Thread(target=_listen, args=(writer.stdout, told))
            reader.start()
            time.sleep(rng.uniform(1.0, 2.5))
            promised = told[-1]
            shutil.copy(image, copy)  # the power goes: this is what had reached the disk
        finally:
            writer.kill()
            reader.join()
            writer.wait()
            subprocess.run(["umount", disk], check=True)
        subprocess.run(["mount", "-o", "loop", copy, later], check=True)
        try:
            with sqlite3.connect(later / "outbox.db") as database:
                damaged += database.execute("PRAGMA integrity_check").fetchone() != ("ok",)
                stored = {number for (number,) in database.execute("SELECT sequence FROM events")}
            lost.append(len(set(range(1, promised + 1)) - stored))
            database.close()
        except sqlite3.DatabaseError:
            lost.append(promised)
        finally:
            subprocess.run(["umount", later], check=True)
    return lost, damaged


def test_the_power_is_cut(tmp_path, prove):
    lost, damaged = cut(tmp_path, "FULL", CUTS, random.Random(2))
    prove(len(lost), sum(lost), damaged=damaged)
    assert sum(lost) == 0
    assert damaged == 0


def test_control_without_a_sync_for_each_commit_a_power_cut_loses(tmp_path, prove):
    lost, damaged = cut(tmp_path, "NORMAL", 5, random.Random(3))
    prove(len(lost), sum(lost), damaged=damaged)
    assert sum(lost) > 0, "else the proof proves nothing"


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace")
def test_it_is_killed_at_every_sync(tmp_path, prove):
    lost = 0
    for number in range(1, SYNCS + 1):
        path = tmp_path / str(number) / "outbox.db"
        path.parent.mkdir()
        inject = ["-f", "-qq", "-o", "/dev/null", "-e", f"inject=fdatasync:signal=KILL:when={number}"]
        command = ["strace", *inject, sys.executable, "-c", WRITER, str(path), "FULL"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        promised = [int(text) for text in done.stdout.split()]
        if not path.exists():
            lost += len(promised)
            continue
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            tables = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'events'").fetchone()[0]
            stored = {number for (number,) in database.execute("SELECT sequence FROM events")} if tables else set()
        lost += len(set(promised) - stored)
        database.close()
    prove(SYNCS, lost)
    assert lost == 0
