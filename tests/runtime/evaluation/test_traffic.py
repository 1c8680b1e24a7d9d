"""`vedette traffic`: published bytes of a recording, compared with the recording as H.264."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from camera import scene

from vedette.runtime.events.sinks import Message
from vedette.runtime.events.sinks.packet_size import packet_bytes


def write_recording(path, fourcc, frames=60):
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*fourcc), 10.0, (320, 240))
    for number in range(frames):
        writer.write(scene(number))
    writer.release()
    return path


def measure_traffic(vedette, device, recording, *more):
    done = vedette("traffic", recording, "door", "--config", device.folder, "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_all_events_of_the_recording_are_counted(
    daemon_process, line_images, run_vedette, wait_until, broker, subscriber
):
    """A real daemon with a real broker publishes as many event bytes for the recording as predicted."""
    broker.start()
    wait_until(subscriber.subscribed.is_set, "the subscription")
    daemon_process.configure(f"file:{line_images}?fps=0", f"mqtt://127.0.0.1:{broker.port}")
    found = measure_traffic(run_vedette, daemon_process, line_images)
    assert not (daemon_process.folder / "state").exists(), "the camera's own was not touched"
    assert daemon_process.start().wait(60) == 0, daemon_process.log()
    wait_until(lambda: len(subscriber.events) == found["events"], "the events")
    kind = "application/cloudevents+json"
    told = [message for message in subscriber.messages if "/evt/" in message.topic]
    wire = sum(packet_bytes(Message(each.topic, each.payload, content_type=kind)) for each in told)
    assert found["event_bytes"] == wire
    assert found["published"] == found["event_bytes"] + found["status_bytes"]
    assert found["share"] == found["published"] / found["h264"]
    assert found["frames"] == 30
    assert found["seconds"] == pytest.approx(3.0)


def test_events_in_batches_are_counted_as_such(daemon_process, line_images, run_vedette):
    """The recording lasts 3 s, so events that wait for 10 s go in one message, until it is full."""
    daemon_process.configure(f"file:{line_images}", "mqtt://127.0.0.1:1")
    daemon_process.amend("broker", "batch = { seconds = 10.0 }")
    found = measure_traffic(run_vedette, daemon_process, line_images)
    assert found["events"] == 20
    assert found["messages"] <= 2
    assert found["largest"] <= 2048
    assert found["event_bytes"] < 20 * 200, "one alone has more than 600"


def test_uploads_are_counted_but_not_sent(daemon_process, line_images, run_vedette):
    daemon_process.configure(f"file:{line_images}", "mqtt://127.0.0.1:1")
    daemon_process.append('[evidence]\nthumbnail = "jpeg"\nclip_seconds = 1.0\nurl = "http://127.0.0.1:1/b"')
    found = measure_traffic(run_vedette, daemon_process, line_images)
    assert found["uploaded"]
    assert found["evidence_files"] == 20, "a thumbnail and a clip of each of ten defective parts"
    assert found["evidence_bytes"] > 5000
    assert found["published"] == found["event_bytes"] + found["status_bytes"] + found["evidence_bytes"]


def test_h264_recording_is_not_encoded_again(daemon_process, run_vedette, tmp_path):
    """The size of its packets, read from the boxes of the MP4 file."""
    daemon_process.configure("file:nothing", "mqtt://127.0.0.1:1")
    path = tmp_path / "scene.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(number), format="bgr24")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    start = content.index(b"mdat")
    size = int.from_bytes(content[start - 4 : start], "big") - 8
    found = measure_traffic(run_vedette, daemon_process, path)
    assert found["encoder"] == "its own"
    assert found["h264"] == pytest.approx(size, abs=8)
    assert (found["frames"], found["width"], found["height"]) == (60, 320, 240)


def test_other_recording_is_encoded_as_h264(daemon_process, run_vedette, tmp_path):
    daemon_process.configure("file:nothing", "mqtt://127.0.0.1:1")
    found = measure_traffic(run_vedette, daemon_process, write_recording(tmp_path / "scene.mp4", "mp4v"))
    assert found["encoder"] == "libx264, crf 23, preset medium"
    assert 10_000 < found["h264"] < 60 * 320 * 240
    odd = tmp_path / "odd"
    odd.mkdir()
    for number in range(5):
        cv2.imwrite(str(odd / f"{number}.png"), np.ascontiguousarray(scene(number)[:121, :77]))
    assert measure_traffic(run_vedette, daemon_process, odd)["width"] == 77


def test_missing_pyav_is_reported_with_a_hint(daemon_process, run_vedette, line_images, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['av'] = None\n")
    daemon_process.configure(f"file:{line_images}", "mqtt://127.0.0.1:1")
    done = run_vedette("traffic", line_images, "door", "--config", daemon_process.folder, PYTHONPATH=str(tmp_path))
    assert done.returncode == 4
    assert "pip install 'vedette[traffic]'" in done.stderr


def test_missing_recording_is_reported(daemon_process, run_vedette, tmp_path):
    daemon_process.configure("file:nothing", "mqtt://127.0.0.1:1")
    done = run_vedette("traffic", tmp_path / "none.mp4", "door", "--config", daemon_process.folder)
    assert done.returncode == 2
    assert "none.mp4" in done.stderr


def test_status_compares_published_bytes_with_the_baseline(
    daemon_process, line_images, run_vedette, call_vedette, wait_until
):
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    daemon_process.start()
    wait_until(lambda: daemon_process.recorded() >= 2, "events")
    found = measure_traffic(run_vedette, daemon_process, line_images)
    (report,) = json.loads(call_vedette("status", "door", "--config", daemon_process.folder, "--json").stdout)
    assert report["of_h264"] == 0, "nothing was published: there is no broker"
    shown = call_vedette("status", "door", "--config", daemon_process.folder).stdout
    assert "of the same stream as H.264" in shown
    assert found["h264"] > 0


class Tap:
    """A TCP proxy before the broker that records the client's bytes."""

    def __init__(self, port):
        self.server, self.port, self.bytes = socket.create_server(("127.0.0.1", 0)), port, b""
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        near, _ = self.server.accept()
        far = socket.create_connection(("127.0.0.1", self.port))
        threading.Thread(target=self.pipe, args=(far, near), daemon=True).start()
        with contextlib.suppress(ConnectionError):
            while data := near.recv(65536):
                self.bytes += data
                far.sendall(data)

    @staticmethod
    def pipe(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)


def published(stream):
    """The bytes of each complete PUBLISH packet in an MQTT stream."""
    at, sizes = 0, []
    while at + 5 < len(stream):
        length, shift, head = 0, 0, at + 1
        while True:
            length |= (stream[head] & 127) << shift
            shift, head = shift + 7, head + 1
            if stream[head - 1] < 128:
                break
        if stream[at] >> 4 == 3 and head + length <= len(stream):
            sizes.append(head + length - at)
        at = head + length
    return sizes


def test_counted_bytes_match_the_wire(daemon_process, line_images, broker, wait_until, call_vedette):
    broker.start()
    tap = Tap(broker.port)
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", f"mqtt://127.0.0.1:{tap.server.getsockname()[1]}")
    process = daemon_process.start()
    wait_until(lambda: daemon_process.recorded() >= 8 and daemon_process.waiting() == 0, "events to be delivered")
    (report,) = json.loads(call_vedette("status", "door", "--config", daemon_process.folder, "--json").stdout)
    process.kill()
    process.wait()
    sizes = published(tap.bytes)[2:]  # the first two are availability and info
    assert len(sizes) >= 8
    assert report["published"] in [sum(sizes[:end]) for end in range(len(sizes) + 1)]


@pytest.mark.slow
def test_pedestrian_events_cost_at_most_two_percent_of_h264(daemon_process, run_vedette, record_proof):
    """Whatever the model predicts: the rule is always active and sends an update every other second."""
    path = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")
    if not path.is_file():
        pytest.skip("vtest.avi of Debian's opencv-doc is not installed")
    daemon_process.configure(
        "file:nothing", "mqtt://127.0.0.1:1", rule="hysteresis = 0.0\nthreshold = 0.0\nupdate = 2.0"
    )
    found = measure_traffic(run_vedette, daemon_process, path)
    record_proof(1, int(found["share"] > 0.02), **found)
    assert found["events"] > 35
    assert found["share"] <= 0.02
