"""`vedette traffic`: what is published of a recording, against the recording as H.264."""

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
from vedette.runtime.events.sinks.packet_size import framed


def recorded(path, fourcc, frames=60):
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*fourcc), 10.0, (320, 240))
    for number in range(frames):
        writer.write(scene(number))
    writer.release()
    return path


def measured(vedette, device, recording, *more):
    done = vedette("traffic", recording, "door", "--config", device.folder, "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_event_of_the_recording_is_counted(device, line, vedette, eventually, broker, subscriber):
    """The same recording before a real daemon and a real broker: as many bytes of events as were reckoned."""
    broker.start()
    eventually(subscriber.subscribed.is_set, "the subscription")
    device.configure(f"file:{line}?fps=0", f"mqtt://127.0.0.1:{broker.port}")
    found = measured(vedette, device, line)
    assert not (device.folder / "state").exists(), "the camera's own was not touched"
    assert device.start().wait(60) == 0, device.log()
    eventually(lambda: len(subscriber.events) == found["events"], "the events")
    kind = "application/cloudevents+json"
    told = [message for message in subscriber.messages if "/evt/" in message.topic]
    wire = sum(framed(Message(each.topic, each.payload, content_type=kind)) for each in told)
    assert found["event_bytes"] == wire
    assert found["published"] == found["event_bytes"] + found["status_bytes"]
    assert found["share"] == found["published"] / found["h264"]
    assert found["frames"] == 30
    assert found["seconds"] == pytest.approx(3.0)


def test_what_would_be_uploaded_counts_and_is_not_uploaded(device, line, vedette):
    device.configure(f"file:{line}", "mqtt://127.0.0.1:1")
    path = device.folder / "cameras" / "door.toml"
    path.write_text(
        f'{path.read_text()}[evidence]\nthumbnail = "jpeg"\nclip_seconds = 1.0\nurl = "http://127.0.0.1:1/b"\n'
    )
    found = measured(vedette, device, line)
    assert found["uploaded"]
    assert found["evidence_files"] == 20, "a thumbnail and a clip of each of ten defective parts"
    assert found["evidence_bytes"] > 5000
    assert found["published"] == found["event_bytes"] + found["status_bytes"] + found["evidence_bytes"]


def test_h264_is_taken_as_it_is(device, vedette, tmp_path):
    """Its packets, read by another way: the boxes of the MP4 file hold nothing else."""
    device.configure("file:nothing", "mqtt://127.0.0.1:1")
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
    found = measured(vedette, device, path)
    assert found["encoder"] == "its own"
    assert found["h264"] == pytest.approx(size, abs=8)
    assert (found["frames"], found["width"], found["height"]) == (60, 320, 240)


def test_another_recording_is_encoded(device, vedette, tmp_path):
    device.configure("file:nothing", "mqtt://127.0.0.1:1")
    found = measured(vedette, device, recorded(tmp_path / "scene.mp4", "mp4v"))
    assert found["encoder"] == "libx264, crf 23, preset medium"
    assert 10_000 < found["h264"] < 60 * 320 * 240
    odd = tmp_path / "odd"
    odd.mkdir()
    for number in range(5):
        cv2.imwrite(str(odd / f"{number}.png"), np.ascontiguousarray(scene(number)[:121, :77]))
    assert measured(vedette, device, odd)["width"] == 77


def test_without_pyav_it_says_what_to_install(device, vedette, line, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['av'] = None\n")
    device.configure(f"file:{line}", "mqtt://127.0.0.1:1")
    done = vedette("traffic", line, "door", "--config", device.folder, PYTHONPATH=str(tmp_path))
    assert done.returncode == 4
    assert "pip install 'vedette[traffic]'" in done.stderr


def test_a_recording_that_is_not_there(device, vedette, tmp_path):
    device.configure("file:nothing", "mqtt://127.0.0.1:1")
    done = vedette("traffic", tmp_path / "none.mp4", "door", "--config", device.folder)
    assert done.returncode == 2
    assert "none.mp4" in done.stderr


def test_status_holds_what_was_published_against_it(device, line, vedette, eventually):
    device.configure(f"file:{line}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    device.start()
    eventually(lambda: device.recorded() >= 2, "events")
    found = measured(vedette, device, line)
    (report,) = json.loads(vedette("status", "door", "--config", device.folder, "--json").stdout)
    assert report["of_h264"] == 0, "nothing was published: there is no broker"
    shown = vedette("status", "door", "--config", device.folder).stdout
    assert "of the stream as H.264" in shown
    assert found["h264"] > 0


class Tap:
    """A door before the broker that counts what goes in."""

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
    """Bytes of each PUBLISH packet that is whole, in a stream of MQTT."""
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


def test_framing_is_what_the_wire_has(device, line, broker, eventually, vedette):
    broker.start()
    tap = Tap(broker.port)
    device.configure(f"file:{line}?fps=20&loop=true", f"mqtt://127.0.0.1:{tap.server.getsockname()[1]}")
    process = device.start()
    eventually(lambda: device.recorded() >= 8 and device.waiting() == 0, "events to be delivered")
    (report,) = json.loads(vedette("status", "door", "--config", device.folder, "--json").stdout)
    process.kill()
    process.wait()
    sizes = published(tap.bytes)[2:]  # availability and info are the sink's own
    assert len(sizes) >= 8
    assert report["published"] in [sum(sizes[:end]) for end in range(len(sizes) + 1)]


@pytest.mark.slow
def test_pedestrians_cost_a_fiftieth_of_their_stream_at_most(device, vedette, prove):
    """Whatever the model sees: a rule that is never quiet, and tells of it every other second."""
    path = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")
    if not path.is_file():
        pytest.skip("vtest.avi of Debian's opencv-doc is not installed")
    device.configure("file:nothing", "mqtt://127.0.0.1:1", rule="hysteresis = 0.0\nthreshold = 0.0\nupdate = 2.0")
    found = measured(vedette, device, path)
    prove(1, int(found["share"] > 0.02), **found)
    assert found["events"] > 35
    assert found["share"] <= 0.02
