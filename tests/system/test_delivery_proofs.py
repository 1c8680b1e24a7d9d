"""Long tests of the guarantees in docs/delivery.md: random kills of processes, and power cuts during writes.

Each test has a control: the same faults with a weaker mechanism, which must lose events.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from auditor import PersistentSubscriber
from mosquitto import BINARY, Mosquitto

pytestmark = pytest.mark.slow
KILL_SECONDS = 60
CUTS = 20
SYNCS = 50

needs_mosquitto = pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto")


def kill_at_random(start, broker, seconds, rng):
    """Starts a process and kills it or the broker at random; returns the process and the number of kills of each."""
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
@pytest.mark.parametrize("batch", ["", "batch = { seconds = 1.0 }"], ids=["one by one", "in batches"])
def test_no_event_is_lost_when_daemon_and_broker_are_killed(
    daemon_process, line_images, tmp_path, record_proof, wait_until, batch
):
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    subscriber = PersistentSubscriber(broker.port)
    daemon_process.configure(f"file:{line_images}?fps=60&loop=true", f"mqtt://127.0.0.1:{broker.port}")
    daemon_process.amend("broker", batch)
    process, kills = kill_at_random(daemon_process.start, broker, KILL_SECONDS, random.Random(1))
    wait_until(lambda: daemon_process.waiting() < 50, "the backlog to go", seconds=120)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, daemon_process.log()
    daemon_process.amend("outbox", "drain = 20.0")
    daemon_process.configure(f"file:{line_images}?fps=0", f"mqtt://127.0.0.1:{broker.port}")
    daemon_process.amend("broker", batch)
    assert daemon_process.start().wait(60) == 0
    recorded = daemon_process.recorded()
    expected = set(range(1, recorded + 1))
    missing = lambda: expected - set(subscriber.numbers)  # noqa: E731
    deadline = time.monotonic() + 30
    while missing() and time.monotonic() < deadline:
        time.sleep(0.2)
    broker.kill()
    subscriber.close()
    duplicates = len(subscriber.numbers) - len(set(subscriber.numbers))
    figures = {"events": recorded, "duplicates": duplicates, "inversions": subscriber.inversions(), **kills}
    record_proof(sum(kills.values()), len(missing()), **figures)
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
def test_control_in_memory_queue_loses_events(tmp_path, record_proof):
    """Control: paho at QoS 1 with its own queue, under the same kills."""
    broker, published_log = Mosquitto(tmp_path / "broker"), tmp_path / "published"
    published_log.touch()
    broker.start()
    subscriber = PersistentSubscriber(broker.port)

    def start():
        last = [0, *map(int, published_log.read_text().split())][-1]
        return subprocess.Popen([sys.executable, "-c", NAIVE, str(broker.port), str(published_log), str(last)])

    process, kills = kill_at_random(start, broker, KILL_SECONDS / 2, random.Random(1))
    time.sleep(5)
    process.kill()
    process.wait()
    time.sleep(2)
    broker.kill()
    subscriber.close()
    published = set(map(int, published_log.read_text().split()))
    lost = published - set(subscriber.numbers)
    record_proof(sum(kills.values()), len(lost), events=len(published))
    assert lost, "otherwise the test is not sensitive"


WRITER = """
import sys, time
from pathlib import Path
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.event import Event, new_event_id
outbox = Outbox(Path(sys.argv[1]), 16 << 20, volatile=True)
outbox.database.execute(f"PRAGMA synchronous = {sys.argv[2]}")
while True:
    i = new_event_id()
    print(outbox.put(Event(i, i, "door", "presence", "new", 0.0, 0, 0.0, 1.0)), flush=True)
    time.sleep(0.001)  # so that the reader keeps up with the writer
"""


def _read_sequences(stream, promised):
    for text in stream:
        promised.append(int(text))


def cut_power(folder, synchronous, cuts, rng):
    """Copies a mounted disk image during writes; returns the lost events of each copy and the damaged files."""
    image, copy, disk, copy_disk = (folder / name for name in ("image", "copy", "disk", "copy_disk"))
    for each in (disk, copy_disk):
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
            sequences = [0]  # read by a thread, so that the writer does not block
            reader = threading.Thread(target=_read_sequences, args=(writer.stdout, sequences))
            reader.start()
            while len(sequences) == 1 and writer.poll() is None:  # on a busy machine the writer starts late
                time.sleep(0.01)
            time.sleep(rng.uniform(1.0, 2.5))
            promised = sequences[-1]
            shutil.copy(image, copy)  # the power cut: the copy holds what had reached the disk
        finally:
            writer.kill()
            reader.join()
            writer.wait()
            subprocess.run(["umount", disk], check=True)
        subprocess.run(["mount", "-o", "loop", copy, copy_disk], check=True)
        try:
            with contextlib.closing(sqlite3.connect(copy_disk / "outbox.db")) as database:
                damaged += database.execute("PRAGMA integrity_check").fetchone() != ("ok",)
                stored = {number for (number,) in database.execute("SELECT sequence FROM events")}
            lost.append(len(set(range(1, promised + 1)) - stored))
        except sqlite3.DatabaseError:
            lost.append(promised)
        finally:
            subprocess.run(["umount", copy_disk], check=True)
    return lost, damaged


def test_no_event_is_lost_on_power_cut(tmp_path, record_proof):
    lost, damaged = cut_power(tmp_path, "FULL", CUTS, random.Random(2))
    record_proof(len(lost), sum(lost), damaged=damaged)
    assert sum(lost) == 0
    assert damaged == 0


def test_control_synchronous_normal_loses_events_on_power_cut(tmp_path, record_proof):
    lost, damaged = cut_power(tmp_path, "NORMAL", 5, random.Random(3))
    record_proof(len(lost), sum(lost), damaged=damaged)
    assert sum(lost) > 0, "otherwise the test is not sensitive"


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace")
def test_no_event_is_lost_when_killed_at_any_sync(tmp_path, record_proof):
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
    record_proof(SYNCS, lost)
    assert lost == 0
