"""The guarantees of docs/delivery.md under network, disk and broker faults, with the real daemon.

The daemon records events during the fault. After the fault, every recorded event must arrive.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from auditor import PersistentSubscriber
from mosquitto import BINARY, Mosquitto
from proxy import Proxy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto"),
]

PAGE = 4096
SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, include/uapi/linux/fs.h: all further reads and writes fail


class Pipeline:
    """A daemon, a broker, a proxy between them unless `host` is set, and a subscriber that counts all events."""

    def __init__(self, device, images, folder, wait_until, settings="", host=""):
        self.device, self.wait_until = device, wait_until
        self.broker = Mosquitto(folder / "broker", settings, "0.0.0.0" if host else "127.0.0.1")
        self.broker.start()
        self.proxy = Proxy(self.broker.port)
        self.subscriber = PersistentSubscriber(self.broker.port)
        address = f"{host}:{self.broker.port}" if host else f"127.0.0.1:{self.proxy.port}"
        device.configure(f"file:{images}?fps=30&loop=true", f"mqtt://{address}")
        device.amend("broker", "keepalive = 5")

    def start(self):
        self.process = self.device.start()
        self.wait_for_events("events")

    def wait_for_events(self, what, count=10):
        before = self.device.recorded()
        self.wait_until(lambda: self.device.recorded() >= before + count, what)

    def settle(self):
        """Stops the daemon and delivers the backlog; returns the number of events and the missing sequence numbers."""
        self.device.amend("outbox", "drain = 30.0")
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(60) in (0, 4), self.device.log()
        text = self.device.folder.joinpath("cameras/door.toml").read_text()
        self.device.folder.joinpath("cameras/door.toml").write_text(text.replace("?fps=30&loop=true", "?fps=0"))
        assert self.device.start().wait(90) == 0, self.device.log()
        recorded = self.device.recorded()
        deadline = time.monotonic() + 30
        while (missing := set(range(1, recorded + 1)) - set(self.subscriber.numbers)) and time.monotonic() < deadline:
            time.sleep(0.2)
        self.duplicates = len(self.subscriber.numbers) - len(set(self.subscriber.numbers))
        return recorded, missing

    def close(self):
        self.subscriber.close()
        self.proxy.close()
        self.broker.kill()


@pytest.fixture
def pipeline(daemon_process, line_images, tmp_path, wait_until):
    pipeline = Pipeline(daemon_process, line_images, tmp_path, wait_until)
    yield pipeline
    pipeline.close()


def assert_no_event_lost(pipeline, record_proof, tries, **figures):
    recorded, missing = pipeline.settle()
    record_proof(tries, len(missing), events=recorded, duplicates=pipeline.duplicates, **figures)
    assert not missing
    assert recorded > 50


def test_no_event_is_lost_when_broker_freezes(pipeline, record_proof):
    pipeline.start()
    for _ in range(3):
        pipeline.broker.freeze()
        time.sleep(12)  # longer than the keep-alive timeout
        pipeline.broker.thaw()
        pipeline.wait_for_events("events after the fault")
    assert_no_event_lost(pipeline, record_proof, 3)


def test_no_event_is_lost_on_half_open_connection(pipeline, record_proof):
    """The connection stays open, but passes no data."""
    pipeline.start()
    for _ in range(3):
        pipeline.proxy.silent = True
        time.sleep(12)
        pipeline.proxy.silent = False
        pipeline.wait_for_events("events after the fault")
    assert_no_event_lost(pipeline, record_proof, 3)


def test_no_event_is_lost_on_slow_network_with_resets(pipeline, record_proof):
    pipeline.start()
    rng, resets = random.Random(4), 0
    until = time.monotonic() + 30
    while time.monotonic() < until:
        pipeline.proxy.delay = rng.uniform(0, 0.3)
        time.sleep(rng.uniform(0.5, 3))
        resets += pipeline.proxy.reset()
    pipeline.proxy.delay = 0.0
    assert_no_event_lost(pipeline, record_proof, resets)


def test_events_refused_by_access_control_are_sent_after_restart(
    daemon_process, line_images, tmp_path, wait_until, record_proof
):
    """Events without permission become dead letters, which the next start sends again."""
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite #\n")
    pipeline = Pipeline(daemon_process, line_images, tmp_path, wait_until, f"acl_file {acl}\n")
    pipeline.start()
    for _ in range(2):
        acl.write_text("topic read #\ntopic write +/+/+/+/+/+/availability/#\n")
        pipeline.broker._signal(signal.SIGHUP)
        before = daemon_process.recorded()
        wait_until(lambda before=before: daemon_process.recorded() > before + 20, "events that are refused")
        acl.write_text("topic readwrite #\n")
        pipeline.broker._signal(signal.SIGHUP)
        pipeline.wait_for_events("events after the fault")
    assert_no_event_lost(pipeline, record_proof, 2)
    pipeline.close()


@contextmanager
def disk(folder, kind):
    """A small file system: `ext4` on a loop device, or `tmpfs`."""
    place = folder / "disk"
    place.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", place]
    else:
        with (folder / "image").open("wb") as file:
            file.truncate(32 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", folder / "image"], check=True)
        command = ["mount", "-o", "loop", folder / "image", place]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting needs root and a loop device")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_full_disk_evicts_only_with_tombstones(pipeline, tmp_path, record_proof):
    """The daemon exits on a full disk; restarted as by systemd, it stores events in memory."""
    with disk(tmp_path, "tmpfs") as place:
        pipeline.device.amend("device", f'state = "{place}"')
        pipeline.device.amend("outbox", "min_free = 0")  # the worst case
        pipeline.device.outbox = place / "door" / "outbox.db"
        pipeline.start()
        pipeline.broker.freeze()
        with suppress(OSError), (place / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
        assert pipeline.process.wait(60) == 4, pipeline.device.log()
        pipeline.process = pipeline.device.start()
        time.sleep(5)
        pipeline.broker.thaw()
        pipeline.wait_until(lambda: "vedette.outbox.volatile" in pipeline.subscriber.types(), "events from memory")
        pipeline.process.send_signal(signal.SIGTERM)
        assert pipeline.process.wait(60) == 0, pipeline.device.log()
        (place / "ballast").unlink()
        pipeline.start()
        recorded, missing = pipeline.settle()
        evicted = set()
        for event in pipeline.subscriber.events:
            if event["type"] == "vedette.outbox.evicted":
                evicted |= set(range(event["data"]["first"], event["data"]["last"] + 1))
        record_proof(1, len(missing - evicted), events=recorded, evicted=len(missing))
        assert missing <= evicted


def test_no_event_is_lost_when_disk_fails_and_is_repaired(pipeline, tmp_path, record_proof):
    """The daemon exits; restarted as by systemd, it stores events in memory, and on the disk after the repair."""
    with disk(tmp_path, "ext4") as place:
        pipeline.device.amend("device", f'state = "{place}"')
        pipeline.device.outbox = place / "door" / "outbox.db"
        pipeline.start()
        descriptor = os.open(place, os.O_RDONLY)
        pipeline.wait_for_events("events", count=40)
        fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", 0))
        os.close(descriptor)
        assert pipeline.process.wait(60) == 4, "exits because it cannot record"
        pipeline.process = pipeline.device.start()
        pipeline.wait_until(lambda: "vedette.outbox.volatile" in pipeline.subscriber.types(), "the fault event")
        pipeline.process.send_signal(signal.SIGTERM)
        assert pipeline.process.wait(60) == 0, pipeline.device.log()
        subprocess.run(["umount", place], check=True)
        subprocess.run(["mount", "-o", "loop", tmp_path / "image", place], check=True)
        pipeline.start()
        assert_no_event_lost(pipeline, record_proof, 1)


def test_damaged_outbox_file_is_recovered_at_each_start(pipeline, record_proof):
    pipeline.start()
    rng, epochs = random.Random(5), 6
    for _ in range(epochs):
        pipeline.process.kill()
        pipeline.process.wait()
        with closing(sqlite3.connect(pipeline.device.outbox)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # otherwise the WAL may overwrite the damaged pages
        pages = pipeline.device.outbox.stat().st_size // PAGE
        with pipeline.device.outbox.open("r+b") as file:
            for page in rng.sample(range(1, pages), min(3, pages - 1)):
                file.seek(page * PAGE)
                file.write(rng.randbytes(64))
        pipeline.process = pipeline.device.start()
        pipeline.wait_for_events("events after the restart", count=3)
    pipeline.process.send_signal(signal.SIGTERM)
    assert pipeline.process.wait(60) == 0
    recoveries = [event for event in pipeline.subscriber.events if event["type"] == "vedette.outbox.recovered"]
    record_proof(epochs, 0, reported=len(recoveries))
    assert recoveries, "the damage is reported"
    with sqlite3.connect(pipeline.device.outbox) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.skipif(shutil.which("ip") is None, reason="needs ip: apt-get install iproute2")
def test_no_event_is_lost_when_link_goes_down(daemon_process, line_images, tmp_path, wait_until, record_proof):
    """The daemon runs in a network namespace, whose only link is set down."""
    name = f"vedette{os.getpid()}"
    set_up = [
        f"ip netns add {name}",
        f"ip link add {name[:12]}a type veth peer name {name[:12]}b netns {name}",
        f"ip addr add 10.98.7.1/24 dev {name[:12]}a",
        f"ip link set {name[:12]}a up",
        f"ip netns exec {name} ip addr add 10.98.7.2/24 dev {name[:12]}b",
        f"ip netns exec {name} ip link set {name[:12]}b up",
    ]
    try:
        for command in set_up:
            if subprocess.run(command.split(), capture_output=True, check=False).returncode:
                pytest.skip(f"this machine does not permit: {command}")
        pipeline = Pipeline(daemon_process, line_images, tmp_path, wait_until, host="10.98.7.1")
        daemon_process.prefix = ["ip", "netns", "exec", name]
        pipeline.start()
        for _ in range(3):
            subprocess.run(["ip", "link", "set", f"{name[:12]}a", "down"], check=True)
            time.sleep(12)
            subprocess.run(["ip", "link", "set", f"{name[:12]}a", "up"], check=True)
            pipeline.wait_for_events("events after the fault")
        assert_no_event_lost(pipeline, record_proof, 3)
        pipeline.close()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


def test_soak_leaks_neither_memory_nor_descriptors(daemon_process, line_images, tmp_path, wait_until, record_proof):
    """Ten minutes at 500 frames a second with connection resets; memory and file descriptors do not grow."""
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    pipeline = Pipeline(daemon_process, line_images, tmp_path, wait_until)
    daemon_process.configure(
        f"file:{line_images}?fps=500&loop=true", f"mqtt://127.0.0.1:{pipeline.proxy.port}", "hysteresis = 0.0"
    )
    pipeline.start()
    proc = f"/proc/{pipeline.process.pid}"
    samples, until = [], time.monotonic() + seconds
    for turn in itertools.count():
        if time.monotonic() > until:
            break
        time.sleep(5)
        if turn % 6 == 5:
            pipeline.proxy.reset()
        pages = int(Path(f"{proc}/statm").read_text().split()[1])
        samples.append((pages * 4096 / 1e6, len(os.listdir(f"{proc}/fd"))))
    settled = samples[len(samples) // 4 :]
    memory, descriptors = [size for size, _ in settled], [count for _, count in settled]
    text = daemon_process.folder.joinpath("cameras/door.toml").read_text()
    daemon_process.folder.joinpath("cameras/door.toml").write_text(
        text.replace("?fps=500&loop=true", "?fps=30&loop=true")
    )
    recorded, missing = pipeline.settle()
    pipeline.close()
    growth = memory[-1] - memory[0]
    record_proof(recorded, len(missing), growth_mb=round(growth, 2), descriptors=[min(descriptors), max(descriptors)])
    assert not missing
    assert growth < 5
    assert max(descriptors) - min(descriptors) <= 2
