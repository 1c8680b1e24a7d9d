"""What docs/delivery.md promises, with a network, a disk and a broker in trouble under the real daemon.

A daemon records events all the while. Then the trouble ends, and every event that was ever recorded has to arrive.
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
from auditor import Auditor
from mosquitto import BINARY, Mosquitto
from proxy import Proxy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto"),
]

PAGE = 4096
SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, include/uapi/linux/fs.h: a disk that takes and gives nothing any more


class Line:
    """A daemon, a broker, a proxy between them unless there is another `way`, and an auditor of all that arrives."""

    def __init__(self, device, line, folder, eventually, more="", way=""):
        self.device, self.eventually = device, eventually
        self.broker = Mosquitto(folder / "broker", more, "0.0.0.0" if way else "127.0.0.1")
        self.broker.start()
        self.proxy = Proxy(self.broker.port)
        self.auditor = Auditor(self.broker.port)
        place = f"{way}:{self.broker.port}" if way else f"127.0.0.1:{self.proxy.port}"
        device.configure(f"file:{line}?fps=30&loop=true", f"mqtt://{place}")
        device.amend("broker", "keepalive = 5")

    def start(self):
        self.process = self.device.start()
        self.grows("events")

    def grows(self, what, by=10):
        before = self.device.recorded()
        self.eventually(lambda: self.device.recorded() >= before + by, what)

    def settle(self):
        """Ends the daemon, sends what is left, and gives what was recorded and never came."""
        self.device.amend("outbox", "drain = 30.0")
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(60) in (0, 4), self.device.log()
        text = self.device.folder.joinpath("cameras/door.toml").read_text()
        self.device.folder.joinpath("cameras/door.toml").write_text(text.replace("?fps=30&loop=true", "?fps=0"))
        assert self.device.start().wait(90) == 0, self.device.log()
        recorded = self.device.recorded()
        deadline = time.monotonic() + 30
        while (missing := set(range(1, recorded + 1)) - set(self.auditor.numbers)) and time.monotonic() < deadline:
            time.sleep(0.2)
        self.copies = len(self.auditor.numbers) - len(set(self.auditor.numbers))
        return recorded, missing

    def close(self):
        self.auditor.close()
        self.proxy.close()
        self.broker.kill()


@pytest.fixture
def flow(device, line, tmp_path, eventually):
    made = Line(device, line, tmp_path, eventually)
    yield made
    made.close()


def account(flow, prove, tries, **more):
    recorded, missing = flow.settle()
    prove(tries, len(missing), events=recorded, duplicates=flow.copies, **more)
    assert not missing
    assert recorded > 50


def test_the_broker_freezes(flow, prove):
    flow.start()
    for _ in range(3):
        flow.broker.freeze()
        time.sleep(12)  # longer than it takes to notice
        flow.broker.thaw()
        flow.grows("events after it")
    account(flow, prove, 3)


def test_a_connection_is_half_open(flow, prove):
    """Nothing comes through, and nothing says so."""
    flow.start()
    for _ in range(3):
        flow.proxy.silent = True
        time.sleep(12)
        flow.proxy.silent = False
        flow.grows("events after it")
    account(flow, prove, 3)


def test_the_network_is_slow_and_breaks(flow, prove):
    flow.start()
    rng, broken = random.Random(4), 0
    until = time.monotonic() + 30
    while time.monotonic() < until:
        flow.proxy.delay = rng.uniform(0, 0.3)
        time.sleep(rng.uniform(0.5, 3))
        broken += flow.proxy.reset()
    flow.proxy.delay = 0.0
    account(flow, prove, broken)


def test_rights_are_taken_away_and_given_back(device, line, tmp_path, eventually, prove):
    """What may not be published is a dead letter, and is sent at the next start."""
    rights = tmp_path / "rights"
    rights.write_text("topic readwrite #\n")
    flow = Line(device, line, tmp_path, eventually, f"acl_file {rights}\n")
    flow.start()
    for _ in range(2):
        rights.write_text("topic read #\ntopic write +/+/+/+/+/+/availability/#\n")
        flow.broker._signal(signal.SIGHUP)
        before = device.recorded()
        eventually(lambda before=before: device.recorded() > before + 20, "events that are refused")
        rights.write_text("topic readwrite #\n")
        flow.broker._signal(signal.SIGHUP)
        flow.grows("events after it")
    account(flow, prove, 2)
    flow.close()


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


def test_others_fill_the_disk(flow, tmp_path, prove):
    """Where nothing can be written any more the daemon ends, is started again as by systemd, and goes on in memory."""
    with disk(tmp_path, "tmpfs") as place:
        flow.device.amend("device", f'state = "{place}"')
        flow.device.amend("outbox", "min_free = 0")  # so that it comes to the worst
        flow.device.outbox = place / "door" / "outbox.db"
        flow.start()
        flow.broker.freeze()
        with suppress(OSError), (place / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
        assert flow.process.wait(60) == 4, flow.device.log()
        flow.process = flow.device.start()
        time.sleep(5)
        flow.broker.thaw()
        flow.eventually(lambda: "vedette.outbox.volatile" in flow.auditor.types(), "events from memory")
        flow.process.send_signal(signal.SIGTERM)
        assert flow.process.wait(60) == 0, flow.device.log()
        (place / "ballast").unlink()
        flow.start()
        recorded, missing = flow.settle()
        buried = set()
        for event in flow.auditor.events:
            if event["type"] == "vedette.outbox.evicted":
                buried |= set(range(event["data"]["first"], event["data"]["last"] + 1))
        prove(1, len(missing - buried), events=recorded, buried=len(missing))
        assert missing <= buried


def test_the_disk_dies_and_is_mended(flow, tmp_path, prove):
    """The daemon ends and is started again, as by systemd; it goes on in memory, and on the disk afterwards."""
    with disk(tmp_path, "ext4") as place:
        flow.device.amend("device", f'state = "{place}"')
        flow.device.outbox = place / "door" / "outbox.db"
        flow.start()
        before = os.open(place, os.O_RDONLY)
        flow.grows("events", by=40)
        fcntl.ioctl(before, SHUTDOWN, struct.pack("I", 0))
        os.close(before)
        assert flow.process.wait(60) == 4, "it says that it cannot record"
        flow.process = flow.device.start()
        flow.eventually(lambda: "vedette.outbox.volatile" in flow.auditor.types(), "the fault event")
        flow.process.send_signal(signal.SIGTERM)
        assert flow.process.wait(60) == 0, flow.device.log()
        subprocess.run(["umount", place], check=True)
        subprocess.run(["mount", "-o", "loop", tmp_path / "image", place], check=True)
        flow.start()
        account(flow, prove, 1)


def test_the_file_is_damaged_again_and_again(flow, prove):
    flow.start()
    rng, epochs = random.Random(5), 6
    for _ in range(epochs):
        flow.process.kill()
        flow.process.wait()
        with closing(sqlite3.connect(flow.device.outbox)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # else what is damaged was written again since
        pages = flow.device.outbox.stat().st_size // PAGE
        with flow.device.outbox.open("r+b") as file:
            for page in rng.sample(range(1, pages), min(3, pages - 1)):
                file.seek(page * PAGE)
                file.write(rng.randbytes(64))
        flow.process = flow.device.start()
        flow.grows("events after it", by=3)
    flow.process.send_signal(signal.SIGTERM)
    assert flow.process.wait(60) == 0
    told = [event for event in flow.auditor.events if event["type"] == "vedette.outbox.recovered"]
    prove(epochs, 0, told=len(told))
    assert told, "what was damaged is told of"
    with sqlite3.connect(flow.device.outbox) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.skipif(shutil.which("ip") is None, reason="needs ip: apt-get install iproute2")
def test_the_link_goes_down(device, line, tmp_path, eventually, prove):
    """The daemon lives in a network of its own, whose one cable is pulled."""
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
                pytest.skip(f"this machine does not let us: {command}")
        flow = Line(device, line, tmp_path, eventually, way="10.98.7.1")
        device.prefix = ["ip", "netns", "exec", name]
        flow.start()
        for _ in range(3):
            subprocess.run(["ip", "link", "set", f"{name[:12]}a", "down"], check=True)
            time.sleep(12)
            subprocess.run(["ip", "link", "set", f"{name[:12]}a", "up"], check=True)
            flow.grows("events after it")
        account(flow, prove, 3)
        flow.close()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


def test_a_day_and_a_night(device, line, tmp_path, eventually, prove):
    """Soak: 500 frames a second, ten minutes; the broker comes and goes. Neither memory nor descriptors grow."""
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    flow = Line(device, line, tmp_path, eventually)
    device.configure(f"file:{line}?fps=500&loop=true", f"mqtt://127.0.0.1:{flow.proxy.port}", "hysteresis = 0.0")
    flow.start()
    place = f"/proc/{flow.process.pid}"
    samples, until = [], time.monotonic() + seconds
    for turn in itertools.count():
        if time.monotonic() > until:
            break
        time.sleep(5)
        if turn % 6 == 5:
            flow.proxy.reset()
        pages = int(Path(f"{place}/statm").read_text().split()[1])
        samples.append((pages * 4096 / 1e6, len(os.listdir(f"{place}/fd"))))
    settled = samples[len(samples) // 4 :]
    memory, descriptors = [size for size, _ in settled], [count for _, count in settled]
    text = device.folder.joinpath("cameras/door.toml").read_text()
    device.folder.joinpath("cameras/door.toml").write_text(text.replace("?fps=500&loop=true", "?fps=30&loop=true"))
    recorded, missing = flow.settle()
    flow.close()
    growth = memory[-1] - memory[0]
    prove(recorded, len(missing), growth_mb=round(growth, 2), descriptors=[min(descriptors), max(descriptors)])
    assert not missing
    assert growth < 5
    assert max(descriptors) - min(descriptors) <= 2
