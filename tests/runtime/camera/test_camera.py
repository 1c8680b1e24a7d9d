"""Live cameras that stall, send garbage, crash and come back: faults are reported, and the daemon continues."""

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
from vedette.runtime.camera.sources import SourceAddress
from vedette.runtime.camera.sources.capture_process import CaptureProcess
from vedette.runtime.errors import ConfigProblem

pytestmark = pytest.mark.wait

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


class SourceThread:
    """A thread that takes the frames of a source as fast as they come."""

    def __init__(self, url, **more):
        self.source = sources.load_source(SourceAddress("door", url, Path("/"), max_silence=SILENCE, **more))
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
        """A condition: some frames more than now have come."""
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
        made.append(SourceThread(url, **more))
        return made[-1]

    yield begin
    for each in made:
        each.end()


def child_processes(process=None):
    """The child processes of `process`."""
    listing = Path(f"/proc/{process or os.getpid()}/task")
    return [int(child) for task in listing.glob("*/children") for child in task.read_text().split()]


def capture_processes(process=None):
    return [child for child in child_processes(process) if b"vedette.runtime.camera.capture" in command_line(child)]


def command_line(process):
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_frames_arrive_over_http(camera, watch, wait_until):
    watched = watch(camera.url)
    wait_until(lambda: watched.count >= 10, "pictures")
    frames = watched.frames
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert all(one.taken < other.taken for one, other in itertools.pairwise(frames))
    assert abs(frames[-1].taken - time.time()) < 1
    assert abs(frames[-1].moment - time.monotonic()) < 1
    for frame in frames:
        assert frame.pixels.shape == (240, 320, 3)
        assert not frame.pixels.flags.writeable
        assert np.abs(frame.pixels.astype(int) - scene(0)).mean() < 6


def test_frames_arrive_over_rtsp_by_tcp(rtsp_camera, watch, wait_until):
    watched = watch(rtsp_camera.url)
    wait_until(lambda: watched.count >= 10, "pictures")
    assert np.abs(watched.frames[-1].pixels.astype(int) - scene(0)).mean() < 8
    assert all("TCP" in transport for transport in rtsp_camera.transports)
    rtsp_camera.mode = "stalled"
    wait_until(lambda: watched.source.frame_counts.trouble, "the silence to be noticed")
    rtsp_camera.mode = "good"
    wait_until(watched.goes_on(), "pictures again")


@pytest.mark.parametrize("way", ["silent", "stalled", "trickle", "garbage", "reset", "refused", "empty"])
def test_source_recovers_from_a_faulty_camera(way, camera, watch, wait_until):
    """Connection faults are there from the start; the others begin in the middle of the stream."""
    camera.mode = way if way in ("silent", "refused", "empty") else "good"
    watched = watch(f"{camera.url}#timeout=1")
    if camera.mode == "good":
        wait_until(lambda: watched.count >= 5, "pictures")
        camera.mode = way
    wait_until(lambda: watched.source.frame_counts.trouble, "the trouble to be noticed")
    camera.mode = "good"
    wait_until(watched.goes_on(), "pictures again")
    assert watched.source.frame_counts.trouble == ""
    watched.end()
    assert max(later - earlier for earlier, later in itertools.pairwise(watched.turns)) < 5, "the caller had its turn"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGSTOP, signal.SIGKILL])
def test_source_recovers_from_a_dead_or_hung_capture_process(number, camera, watch, wait_until):
    watched = watch(camera.url)
    wait_until(lambda: watched.count >= 5, "pictures")
    (reader,) = capture_processes()
    os.kill(reader, number)
    wait_until(lambda: watched.source.frame_counts.restarts == 1, "the next process")
    wait_until(watched.goes_on(), "pictures again")
    assert capture_processes() != [reader]


def test_newest_frame_wins(camera):
    source = sources.load_source(SourceAddress("door", camera.url, Path("/")))
    stop, ages = threading.Event(), []
    for frame in source.frames(stop):
        if frame is not None:
            ages.append(time.time() - frame.taken)
            time.sleep(0.3)  # processing time of a frame
        if len(ages) == 10:
            stop.set()
    assert source.frame_counts.dropped >= 20
    assert sorted(ages)[5] < 0.2


def test_old_frames_count_as_late(camera):
    source = sources.load_source(SourceAddress("door", camera.url, Path("/")))
    stop, seen = threading.Event(), 0
    for frame in source.frames(stop):
        if frame is None:
            continue
        assert time.time() - frame.taken < 1.1
        seen += 1
        if seen == 3:
            (reader,) = capture_processes()
            time.sleep(0.3)
            os.kill(reader, signal.SIGSTOP)  # its last frame is old when the daemon continues
            time.sleep(1.5)
            threading.Timer(1.0, os.kill, (reader, signal.SIGCONT)).start()
        if seen == 6:
            stop.set()
    assert source.frame_counts.late >= 1


def test_slow_down_reduces_the_frame_rate(camera, watch, wait_until):
    watched = watch(f"{camera.url}#fps=4")
    wait_until(lambda: watched.count >= 8, "pictures")
    gaps = [later.taken - earlier.taken for earlier, later in itertools.pairwise(watched.frames)]
    assert 0.2 < sorted(gaps)[len(gaps) // 2] < 0.35
    watched.source.slow_down(4.0)
    count = watched.count
    wait_until(lambda: watched.count >= count + 4, "slower pictures")
    assert watched.frames[-1].taken - watched.frames[-2].taken > 0.8


def test_password_is_visible_to_the_camera_only(daemon_process, tmp_path, wait_until):
    camera = Camera(login=base64.b64encode(b"watcher:s3cret/@").decode())
    (tmp_path / "password").write_text("s3cret/@\n")
    daemon_process.configure(
        camera.url, "mqtt://127.0.0.1:1", username="watcher", password_file=str(tmp_path / "password")
    )
    process = daemon_process.start()
    wait_until(lambda: "frames arrive" in daemon_process.log(), "frames")
    (reader,) = capture_processes(process.pid)
    camera.mode = "refused"
    os.kill(reader, signal.SIGKILL)
    wait_until(lambda: "refuses the password" in daemon_process.log(), "the refusal", seconds=40)
    shown = (
        daemon_process.log().encode()
        + command_line(process.pid)
        + command_line(reader)
        + b"".join(map(command_line, capture_processes(process.pid)))
    )
    assert b"s3cret" not in shown
    camera.close()


def test_password_in_the_url_is_refused_and_not_shown(daemon_process, run_vedette, camera):
    daemon_process.configure(camera.url.replace("//", "//watcher:s3cret@") + "#fsp=3", "mqtt://127.0.0.1:1")
    done = run_vedette("run", "door", "--config", daemon_process.folder)
    assert done.returncode == 2
    assert "s3cret" not in done.stderr
    assert "password_file" in done.stderr
    daemon_process.configure(camera.url + "#fsp=3", "mqtt://127.0.0.1:1")
    done = run_vedette("run", "door", "--config", daemon_process.folder)
    assert done.returncode == 2
    assert "fsp" in done.stderr
    assert "fps=" in done.stderr


def test_capture_process_dies_with_the_daemon(daemon_process, camera, wait_until):
    daemon_process.configure(camera.url, "mqtt://127.0.0.1:1")
    process = daemon_process.start()
    wait_until(lambda: "frames arrive" in daemon_process.log(), "frames")
    (reader,) = capture_processes(process.pid)
    process.kill()
    process.wait()
    wait_until(lambda: command_line(reader) == b"", "the reader to end")


def camera_system_events(subscriber):
    """The daemon's system events about the camera: kind, facts."""
    found = [(event["type"], event["data"]) for event in subscriber.events]
    return [(kind.removeprefix("vedette.camera."), data) for kind, data in found if kind.startswith("vedette.camera.")]


def test_daemon_reports_camera_faults_and_continues(
    daemon_process, camera, broker, subscriber, wait_until, call_vedette
):
    broker.start()
    wait_until(subscriber.subscribed.is_set, "the subscription")
    daemon_process.configure(camera.url, f"mqtt://127.0.0.1:{broker.port}")
    daemon_process.append("[health]\nstalled = 2.0\nfrozen = 2.0\ndark = 2.0\nrecovered = 1.0")
    process = daemon_process.start()
    wait_until(lambda: "frames arrive" in daemon_process.log(), "frames")
    still, black = scene(0), np.full((240, 320, 3), 4, np.uint8)
    for kind, change, back in (
        ("stalled", {"mode": "stalled"}, {"mode": "good"}),
        ("frozen", {"picture": lambda _: still}, {"picture": scene}),
        ("dark", {"picture": lambda number: black + np.uint8(number % 3)}, {"picture": scene}),
    ):
        told = len(camera_system_events(subscriber))
        for key, value in change.items():
            setattr(camera, key, value)
        wait_until(lambda told=told: len(camera_system_events(subscriber)) > told, kind)
        assert camera_system_events(subscriber)[told][0] == kind
        (report,) = json.loads(call_vedette("status", "door", "--config", daemon_process.folder, "--json").stdout)
        assert f"the camera is {kind}" in report["faults"]
        for key, value in back.items():
            setattr(camera, key, value)
        wait_until(lambda told=told: len(camera_system_events(subscriber)) > told + 1, f"the end of {kind}", seconds=40)
        assert camera_system_events(subscriber)[told + 1][0] == "recovered"
        assert camera_system_events(subscriber)[told + 1][1]["from"] == kind
    assert camera_system_events(subscriber)[0][1]["reason"] == "no picture in 1.6 s"
    assert process.poll() is None
    assert len(camera_system_events(subscriber)) == 6
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, daemon_process.log()


def test_daemon_starts_without_its_camera(daemon_process, camera, wait_until, call_vedette):
    camera.close()
    daemon_process.configure(camera.url, "mqtt://127.0.0.1:1")
    daemon_process.start()
    wait_until(lambda: daemon_process.recorded() == 1, "the event that says so")
    done = call_vedette("status", "--config", daemon_process.folder)
    assert "the camera is stalled" in done.stdout
    assert "nothing listens at port" in done.stdout


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("v4l2:/dev/video0?widht=3", "widht"),
        ("v4l2:/dev/video0?format=JPEG2", "format"),
        ("v4l2:video0", "not a device"),
        ("rtsp:///stream", "no host"),
        ("rtsp://camera/stream#timeout=0", "timeout"),
        ("picamera:front", "number"),
        ("gopher://camera", "gopher"),
    ],
)
def test_invalid_url_is_rejected(url, said):
    with pytest.raises(ConfigProblem, match=said) as caught:
        sources.load_source(SourceAddress("door", url, Path("/")))
    assert caught.value.hint


def test_missing_camera_is_retried(watch, wait_until):
    watched = watch("v4l2:/dev/v4l/by-id/usb-none?width=640&exposure=20")
    wait_until(lambda: "does not exist" in watched.source.frame_counts.trouble, "the trouble")
    wait_until(lambda: watched.source.frame_counts.restarts >= 1, "another attempt")


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


def test_picamera_runs_under_another_python(tmp_path, watch, wait_until):
    """A stub replaces the library, which exists on a Raspberry Pi only. That interpreter has NumPy and no vedette."""
    (tmp_path / "picamera2.py").write_text(PICAMERA)
    home = Path(np.__file__).parents[1]
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nshift\nPYTHONPATH={tmp_path}:{tmp_path}/numpy exec {sys._base_executable} "$@"\n')  # type: ignore[attr-defined]
    python.chmod(0o755)
    (tmp_path / "numpy").mkdir()
    for each in home.glob("numpy*"):
        (tmp_path / "numpy" / each.name).symlink_to(each)
    probe = [python, "-I", "-c", "import vedette"]
    assert subprocess.run(probe, capture_output=True, check=False).returncode
    corner = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5))
    watched = watch(f"picamera:0?width=64&height=32&python={python}", zones=(corner,))
    wait_until(lambda: watched.count >= 3, "pictures")
    assert watched.frames[0].pixels.shape == (32, 64, 3)
    assert not watched.frames[0].pixels[0, 0].any()
    assert watched.frames[0].pixels[-1, -1].all()


def test_missing_picamera_library_is_reported(watch, wait_until):
    watched = watch(f"picamera:0?python={sys._base_executable}")  # type: ignore[attr-defined]
    wait_until(lambda: "picamera2" in watched.source.frame_counts.trouble, "the trouble")


def test_opening_and_closing_leaks_nothing(camera, wait_until):
    def cycle():
        stop = threading.Event()
        for frame in sources.load_source(SourceAddress("door", camera.url, Path("/"))).frames(stop):
            if frame is not None:
                stop.set()

    for _ in range(3):
        cycle()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        cycle()
    # The test's own camera server closes its last connections a moment later.
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, "all descriptors to be closed")
    assert capture_processes() == []


@pytest.mark.slow
def test_ten_thousand_openings_leak_nothing(camera, record_proof):
    """Each starts and ends a process, every hundredth after the first frame."""

    def figures():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd"))

    spec = sources.load_source(SourceAddress("door", camera.url, Path("/"))).spec  # type: ignore[attr-defined]
    pictures, samples = 0, []
    for number in range(10_000):
        process = CaptureProcess((sys.executable, "-P"), spec)
        if number % 100 == 0:
            found, until = None, time.monotonic() + 20
            while found is None and not process.exit_reason and time.monotonic() < until:
                found = process.read_newest(1.0)
            pictures += found is not None
            samples.append(figures())
        process.close()
    memory, descriptors = zip(*samples[10:], strict=True)
    growth = memory[-1] - memory[0]
    record_proof(10_000, 100 - pictures, growth_mb=round(growth, 2), descriptors=[min(descriptors), max(descriptors)])
    assert pictures == 100
    assert growth < 5
    assert max(descriptors) - min(descriptors) <= 3  # the camera's own connections come and go
    assert capture_processes() == []
