"""Cameras that stall, lie, crash and come back: each is told of, and the daemon goes on by itself."""

from __future__ import annotations

import base64
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from camera import Camera, scene
from rtsp import RtspCamera

from vedette.runtime.camera import sources
from vedette.runtime.camera.sources import Address
from vedette.runtime.camera.sources.capture_process import Process
from vedette.runtime.errors import ConfigProblem

SILENCE = 1.5


@pytest.fixture
def camera():
    made = Camera()
    yield made
    made.close()


@pytest.fixture
def rtsp_camera():
    made = RtspCamera()
    yield made
    made.close()


class Watched:
    """A source whose frames are taken by a thread, as fast as they come."""

    def __init__(self, url, **more):
        self.source = sources.load(Address("door", url, Path("/"), silence=SILENCE, **more))
        self.stop, self.frames, self.count, self.turns = threading.Event(), [], 0, []
        self.thread = threading.Thread(target=self.take)
        self.thread.start()

    def take(self):
        for frame in self.source.frames(self.stop):
            self.turns.append(time.monotonic())
            if frame is not None:
                self.frames = [*self.frames[-99:], frame]
                self.count += 1

    def goes_on(self):
        """A condition: some more frames than now."""
        before = self.count
        return lambda: self.count > before + 3

    def end(self):
        self.stop.set()
        self.thread.join(5)
        assert not self.thread.is_alive()


@pytest.fixture
def watch():
    made = []

    def begin(url, **more):
        made.append(Watched(url, **more))
        return made[-1]

    yield begin
    for each in made:
        each.end()


def children(process=None):
    """Processes that read a camera for `process`."""
    listing = Path(f"/proc/{process or os.getpid()}/task")
    return [int(child) for task in listing.glob("*/children") for child in task.read_text().split()]


def readers(process=None):
    return [child for child in children(process) if b"vedette.runtime.camera.capture" in cmdline(child)]


def cmdline(process):
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_pictures_come_over_http(camera, watch, eventually):
    watched = watch(camera.url)
    eventually(lambda: watched.count >= 10, "pictures")
    frames = watched.frames
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert all(one.taken < other.taken for one, other in itertools.pairwise(frames))
    assert abs(frames[-1].taken - time.time()) < 1
    for frame in frames:
        assert frame.pixels.shape == (240, 320, 3)
        assert not frame.pixels.flags.writeable
        assert np.abs(frame.pixels.astype(int) - scene(0)).mean() < 6


def test_pictures_come_over_rtsp_by_tcp(rtsp_camera, watch, eventually):
    watched = watch(rtsp_camera.url)
    eventually(lambda: watched.count >= 10, "pictures")
    assert np.abs(watched.frames[-1].pixels.astype(int) - scene(0)).mean() < 8
    assert all("TCP" in transport for transport in rtsp_camera.transports)
    rtsp_camera.way = "stalled"
    eventually(lambda: watched.source.tally.trouble, "the silence to be noticed")
    rtsp_camera.way = "good"
    eventually(watched.goes_on(), "pictures again")


@pytest.mark.parametrize("way", ["silent", "stalled", "trickle", "garbage", "reset", "refused", "empty"])
def test_a_camera_that_goes_wrong_comes_back(way, camera, watch, eventually):
    """Wrong from the start where it is about answering; else in the middle of the stream."""
    camera.way = way if way in ("silent", "refused", "empty") else "good"
    watched = watch(f"{camera.url}#timeout=1")
    if camera.way == "good":
        eventually(lambda: watched.count >= 5, "pictures")
        camera.way = way
    eventually(lambda: watched.source.tally.trouble, "the trouble to be noticed")
    camera.way = "good"
    eventually(watched.goes_on(), "pictures again")
    assert watched.source.tally.trouble == ""
    watched.end()
    assert max(later - earlier for earlier, later in itertools.pairwise(watched.turns)) < 5, "the caller had its turn"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGSTOP, signal.SIGKILL])
def test_the_process_that_reads_may_crash_or_hang(number, camera, watch, eventually):
    watched = watch(camera.url)
    eventually(lambda: watched.count >= 5, "pictures")
    (reader,) = readers()
    os.kill(reader, number)
    eventually(lambda: watched.source.tally.restarts == 1, "the next process")
    eventually(watched.goes_on(), "pictures again")
    assert readers() != [reader]


def test_the_newest_picture_wins(camera):
    source = sources.load(Address("door", camera.url, Path("/")))
    stop, ages = threading.Event(), []
    for frame in source.frames(stop):
        if frame is not None:
            ages.append(time.time() - frame.taken)
            time.sleep(0.3)  # so long it takes to look at it
        if len(ages) == 10:
            stop.set()
    assert source.tally.dropped >= 20
    assert sorted(ages)[5] < 0.2


def test_pictures_that_lay_too_long_are_late(camera):
    source = sources.load(Address("door", camera.url, Path("/")))
    stop, seen = threading.Event(), 0
    for frame in source.frames(stop):
        if frame is None:
            continue
        assert time.time() - frame.taken < 1.1
        seen += 1
        if seen == 3:
            (reader,) = readers()
            time.sleep(0.3)
            os.kill(reader, signal.SIGSTOP)  # what it told of last is old when the daemon comes back
            time.sleep(1.5)
            threading.Timer(1.0, os.kill, (reader, signal.SIGCONT)).start()
        if seen == 6:
            stop.set()
    assert source.tally.late >= 1


def test_fewer_pictures_where_fewer_are_wanted(camera, watch, eventually):
    watched = watch(f"{camera.url}#fps=4")
    eventually(lambda: watched.count >= 8, "pictures")
    gaps = [later.taken - earlier.taken for earlier, later in itertools.pairwise(watched.frames)]
    assert 0.2 < sorted(gaps)[len(gaps) // 2] < 0.35
    watched.source.slow(4.0)
    count = watched.count
    eventually(lambda: watched.count >= count + 4, "slower pictures")
    assert watched.frames[-1].taken - watched.frames[-2].taken > 0.8


def test_a_password_is_seen_by_the_camera_alone(device, tmp_path, eventually):
    camera = Camera(login=base64.b64encode(b"watcher:s3cret/@").decode())
    (tmp_path / "password").write_text("s3cret/@\n")
    device.configure(camera.url, "mqtt://127.0.0.1:1", username="watcher", password_file=str(tmp_path / "password"))
    process = device.start()
    eventually(lambda: "pictures come" in device.log(), "pictures")
    (reader,) = readers(process.pid)
    camera.way = "refused"
    os.kill(reader, signal.SIGKILL)
    eventually(lambda: "refuses the password" in device.log(), "the refusal", seconds=40)
    shown = (
        device.log().encode() + cmdline(process.pid) + cmdline(reader) + b"".join(map(cmdline, readers(process.pid)))
    )
    assert b"s3cret" not in shown
    camera.close()


def test_a_password_in_the_url_is_not_shown(device, vedette, camera):
    device.configure(camera.url.replace("//", "//watcher:s3cret@") + "#fsp=3", "mqtt://127.0.0.1:1")
    done = vedette("run", "door", "--config", device.folder)
    assert done.returncode == 2
    assert "s3cret" not in done.stderr
    assert "fsp" in done.stderr
    assert "fps=" in done.stderr


def test_no_reader_outlives_the_daemon(device, camera, eventually):
    device.configure(camera.url, "mqtt://127.0.0.1:1")
    process = device.start()
    eventually(lambda: "pictures come" in device.log(), "pictures")
    (reader,) = readers(process.pid)
    process.kill()
    process.wait()
    eventually(lambda: cmdline(reader) == b"", "the reader to end")


def notices(subscriber):
    """What the daemon told of the camera: kind, facts."""
    found = [(event["type"], event["data"]) for event in subscriber.events]
    return [(kind.removeprefix("vedette.camera."), data) for kind, data in found if kind.startswith("vedette.camera.")]


def test_the_daemon_tells_of_it_and_goes_on(device, camera, broker, subscriber, eventually, vedette):
    broker.start()
    eventually(subscriber.subscribed.is_set, "the subscription")
    device.configure(camera.url, f"mqtt://127.0.0.1:{broker.port}")
    path = device.folder / "cameras" / "door.toml"
    path.write_text(f"{path.read_text()}[health]\nstalled = 2.0\nfrozen = 2.0\ndark = 2.0\nrecovered = 1.0\n")
    process = device.start()
    eventually(lambda: "pictures come" in device.log(), "pictures")
    still, black = scene(0), np.full((240, 320, 3), 4, np.uint8)
    for kind, change, back in (
        ("stalled", {"way": "stalled"}, {"way": "good"}),
        ("frozen", {"picture": lambda _: still}, {"picture": scene}),
        ("dark", {"picture": lambda number: black + np.uint8(number % 3)}, {"picture": scene}),
    ):
        told = len(notices(subscriber))
        for key, value in change.items():
            setattr(camera, key, value)
        eventually(lambda told=told: len(notices(subscriber)) > told, kind)
        assert notices(subscriber)[told][0] == kind
        (report,) = json.loads(vedette("status", "door", "--config", device.folder, "--json").stdout)
        assert f"the camera is {kind}" in report["faults"]
        for key, value in back.items():
            setattr(camera, key, value)
        eventually(lambda told=told: len(notices(subscriber)) > told + 1, f"the end of {kind}", seconds=40)
        assert notices(subscriber)[told + 1][0] == "recovered"
        assert notices(subscriber)[told + 1][1]["from"] == kind
    assert notices(subscriber)[0][1]["reason"] == "no picture in 1.6 s"
    assert process.poll() is None
    assert len(notices(subscriber)) == 6
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, device.log()


def test_it_starts_without_its_camera(device, camera, eventually, vedette):
    camera.close()
    device.configure(camera.url, "mqtt://127.0.0.1:1")
    device.start()
    eventually(lambda: device.recorded() == 1, "the event that says so")
    done = vedette("status", "--config", device.folder)
    assert "the camera is stalled" in done.stdout
    assert "does not answer" in done.stdout


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("v4l2:/dev/video0?widht=3", "widht"),
        ("v4l2:/dev/video0?format=JPEG2", "format"),
        ("v4l2:video0", "no device"),
        ("rtsp:///stream", "no host"),
        ("rtsp://camera/stream#timeout=0", "timeout"),
        ("picamera:front", "number"),
        ("gopher://camera", "gopher"),
    ],
)
def test_a_wrong_url_is_told_before_anything_starts(url, said):
    with pytest.raises(ConfigProblem, match=said) as caught:
        sources.load(Address("door", url, Path("/")))
    assert caught.value.hint


def test_a_camera_that_is_not_there_is_waited_for(watch, eventually):
    watched = watch("v4l2:/dev/v4l/by-id/usb-none?width=640&exposure=20")
    eventually(lambda: "not there" in watched.source.tally.trouble, "the trouble")
    eventually(lambda: watched.source.tally.restarts >= 1, "another attempt")


PICAMERA = """
import numpy
class Picamera2:
    def __init__(self, number):
        self.number = number
    def create_video_configuration(self, main, controls):
        return main
    def configure(self, main):
        self.size = main["size"]
    def start(self):
        self.count = 0
    def capture_request(self, wait):
        import time
        time.sleep(0.05)
        return self
    def release(self):
        pass
    def make_array(self, name):
        self.count += 1
        return numpy.full((self.size[1], self.size[0], 3), self.count % 256, numpy.uint8)
"""


def test_a_ribbon_camera_is_read_by_another_python(tmp_path, watch, eventually):
    """Its library is stood in for: it exists on a Raspberry Pi alone. That interpreter has NumPy and no vedette."""
    (tmp_path / "picamera2.py").write_text(PICAMERA)
    home = Path(np.__file__).parents[1]
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nshift\nPYTHONPATH={tmp_path}:{tmp_path}/numpy exec {sys._base_executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "numpy").mkdir()
    for each in home.glob("numpy*"):
        (tmp_path / "numpy" / each.name).symlink_to(each)
    probe = [python, "-I", "-c", "import vedette"]
    assert subprocess.run(probe, capture_output=True, check=False).returncode
    corner = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5))
    watched = watch(f"picamera:0?width=64&height=32&python={python}", zones=(corner,))
    eventually(lambda: watched.count >= 3, "pictures")
    assert watched.frames[0].pixels.shape == (32, 64, 3)
    assert not watched.frames[0].pixels[0, 0].any()
    assert watched.frames[0].pixels[-1, -1].all()


def test_a_ribbon_camera_without_its_library_says_so(watch, eventually):
    watched = watch(f"picamera:0?python={sys._base_executable}")
    eventually(lambda: "picamera2" in watched.source.tally.trouble, "the trouble")


def test_opening_and_closing_leaves_nothing_behind(camera):
    def cycle():
        stop = threading.Event()
        for frame in sources.load(Address("door", camera.url, Path("/"))).frames(stop):
            if frame is not None:
                stop.set()

    for _ in range(3):
        cycle()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        cycle()
    assert len(os.listdir("/proc/self/fd")) == before
    assert readers() == []


@pytest.mark.slow
def test_ten_thousand_openings(camera, prove):
    """Each starts a process and ends it, every hundredth once a picture has come."""

    def figures():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd"))

    spec = sources.load(Address("door", camera.url, Path("/"))).spec
    pictures, samples = 0, []
    for number in range(10_000):
        process = Process((sys.executable, "-P"), spec)
        if number % 100 == 0:
            found, until = None, time.monotonic() + 20
            while found is None and not process.why and time.monotonic() < until:
                found = process.newest(1.0)
            pictures += found is not None
            samples.append(figures())
        process.close()
    memory, descriptors = zip(*samples[10:], strict=True)
    growth = memory[-1] - memory[0]
    prove(10_000, 100 - pictures, growth_mb=round(growth, 2), descriptors=[min(descriptors), max(descriptors)])
    assert pictures == 100
    assert growth < 5
    assert max(descriptors) - min(descriptors) <= 3  # the camera's own connections come and go
    assert readers() == []
