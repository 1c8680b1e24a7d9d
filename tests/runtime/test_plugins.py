"""Every part in every table keeps its table's contract. A new part is one line in a table; these tests pick it up."""

from __future__ import annotations

import importlib
import itertools
import json
import socket
import threading
import time

import msgspec
import numpy as np
import pytest
import torch
from camera import Camera
from certificates import issued
from mosquitto import BINARY, Mosquitto
from rtsp import RtspCamera

from vedette.compress import tasks
from vedette.compress.models import anomaly, efficientnet_lite
from vedette.compress.models.anomaly import DETECTORS
from vedette.compress.tasks import TASKS
from vedette.runtime import rules
from vedette.runtime.camera import sources
from vedette.runtime.camera.frame import Frame
from vedette.runtime.camera.sources import SOURCES, Address
from vedette.runtime.config.configuration import Broker
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.events import sinks
from vedette.runtime.events.sinks import SINKS, Identity, Message
from vedette.runtime.inference import backends, heads
from vedette.runtime.inference.backends import BACKENDS
from vedette.runtime.inference.golden_outputs import difference
from vedette.runtime.inference.heads import HEADS
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.rules import RULES, Context

TABLES = [
    (backends, BACKENDS),
    (heads, HEADS),
    (rules, RULES),
    (sinks, SINKS),
    (sources, SOURCES),
    (anomaly, DETECTORS),
    (tasks, TASKS),
]


@pytest.mark.parametrize(("package", "table"), TABLES, ids=lambda each: getattr(each, "__name__", ""))
def test_every_entry_can_be_imported_and_says_what_it_is(package, table):
    for place in table.values():
        module, _, attribute = place.partition(":")
        loaded = importlib.import_module(module, package.__name__)
        assert loaded.__doc__
        assert getattr(loaded, attribute).__doc__


# Back ends


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_reproduces_the_goldens(bundle, name):
    assert difference(bundle, backends.load(name, bundle)) <= 1


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_gives_the_outputs_of_the_manifest(bundle, name):
    outputs = backends.load(name, bundle, threads=2).run(bundle.golden("image")[:1])
    assert {key: (each.shape, each.dtype) for key, each in outputs.items()} == {
        output.name: (output.shape, np.dtype(np.uint8)) for output in bundle.manifest.outputs
    }


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_forgets_the_frame_before(bundle, name):
    backend = backends.load(name, bundle)
    first, second = bundle.golden("image")[:1], bundle.golden("image")[-1:]
    once = {key: each.copy() for key, each in backend.run(first).items()}
    backend.run(second)
    again = backend.run(first)
    assert all(np.array_equal(once[key], again[key]) for key in once)
    assert not np.array_equal(once["map"], backend.run(second)["map"])


def test_the_fastest_backend_is_taken(bundle):
    class Slow:
        version = "slow"

        def run(self, tensor):
            time.sleep(0.05)
            return {}

    quick = backends.load("onnx", bundle)
    assert backends.fastest([Slow(), quick], bundle.golden("image")[:1]) is quick


# Heads


@pytest.mark.parametrize("task", HEADS)
def test_a_head_turns_outputs_into_predictions(request, task):
    bundle = request.getfixturevalue(
        {
            "anomaly": "bundle",
            "behaviour": "yard_bundle",
            "classify": "kinds_bundle",
            "detect": "squares_bundle",
        }[task]
    )
    assert bundle.manifest.task == task
    head = heads.load(bundle.manifest)
    for index in range(len(bundle.golden("image"))):
        outputs = {output.name: bundle.golden(output.name)[index] for output in bundle.manifest.outputs}
        for prediction in head(outputs):
            assert isinstance(prediction, Prediction)
            assert prediction.label in bundle.manifest.labels


def test_the_anomaly_head_boxes_what_is_above_the_threshold(bundle):
    score, anomaly_map = bundle.manifest.output("score"), bundle.manifest.output("map")
    height, width = anomaly_map.shape[-2:]
    integers = np.zeros(anomaly_map.shape, np.uint8)
    integers[..., 2:4, 5] = 255
    outputs = {"map": integers, "score": np.full(score.shape, 255, np.uint8)}
    (prediction,) = heads.load(bundle.manifest)(outputs)
    assert prediction.score == pytest.approx(score.scale * (255 - score.zero_point), abs=1e-3)
    edges = (prediction.box.left, prediction.box.top, prediction.box.right, prediction.box.bottom)
    assert edges == pytest.approx((5 / width, 2 / height, 6 / width, 4 / height), abs=1e-3)
    (quiet,) = heads.load(bundle.manifest)({"map": integers * 0, "score": np.zeros(score.shape, np.uint8)})
    assert quiet.box is None


def test_the_classify_head_knows_when_it_does_not_know(kinds_bundle):
    """Equal scores are no answer; a clear one is; and the temperature decides how clear it must be."""
    manifest = kinds_bundle.manifest
    classes, scores = len(manifest.classes), manifest.output("scores")
    torn = {"scores": np.full(scores.shape, 100, np.uint8)}
    (doubtful,) = heads.load(manifest)(torn)
    assert (doubtful.label, doubtful.box) == ("unknown", None)
    assert doubtful.score == pytest.approx(1 / classes, abs=1e-4)
    clear = np.zeros(scores.shape, np.uint8)
    clear.flat[1] = 255
    (sure,) = heads.load(manifest)({"scores": clear})
    assert sure.label == manifest.classes[1]
    hot = msgspec.structs.replace(manifest, temperature=1000.0)
    assert heads.load(hot)({"scores": clear})[0].label == "unknown"


# Rules

SQUARE = [[0.2, 0.2], [0.8, 0.2], [0.8, 0.9], [0.2, 0.9]]
SETTINGS = {
    "crossing": {"line": [[0.5, 0.0], [0.5, 1.0]]},
    "crowd": {"count": 1},
    "dwell": {"seconds": 1.0},
    "left_object": {"seconds": 2.0, "learn": 5.0},
    "presence": {},
    "removed_object": {"seconds": 2.0, "learn": 5.0},
    "speed": {"points": SQUARE, "metres": [[0, 0], [5, 0], [5, 5], [0, 5]], "limit": 5},
    "wrong_way": {"way": [[0.0, 0.5], [1.0, 0.5]]},
    "zone": {"polygon": SQUARE},
}


def watched(name):
    """What a rule tells of a minute in which one walks to and fro, at times unseen; a dark patch comes and goes."""
    rng = np.random.default_rng(0)
    rule = rules.load({"use": name} | SETTINGS[name], Context("door", "model", 1.0, ("anomaly", "other")))
    for number in range(600):
        pixels = np.full((90, 160, 3), 150, np.uint8)
        if (150 < number < 300) != (name == "removed_object"):
            pixels[40:60, 60:90] = 40
        middle = 0.5 + 0.4 * np.sin(number / 10)
        seen = (Prediction("anomaly", float(rng.uniform(0.8, 2)), Box(middle - 0.1, 0.3, middle + 0.1, 0.7), track=1),)
        yield from rule.observe(Frame("door", number, number / 10, pixels), seen if rng.random() < 0.9 else ())
    yield from rule.close()
    assert not list(rule.close())


@pytest.mark.parametrize("name", RULES)
def test_a_rule_tells_whole_stories(name):
    """Every event opens once, ends once, and its messages belong together."""
    stories = {}
    for event in watched(name):
        assert event.rule == name
        assert event.started <= event.taken
        stories.setdefault(event.event, []).append(event.kind)
    assert stories
    for kinds in stories.values():
        assert kinds[0] == "new"
        assert kinds[-1] == "end"
        assert set(kinds[1:-1]) <= {"update"}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_replays_exactly(name):
    first, second = (
        [(event.kind, event.frame, event.taken, event.top_score, event.before, event.after) for event in watched(name)]
        for _ in range(2)
    )
    assert first == second


# Sinks

WILL = Message("test/availability", b"offline", retain=True)
IDENTITY = Identity("client", (Message("test/availability", b"online", retain=True),), WILL, WILL)


@pytest.fixture
def sink(request, broker, tmp_path):
    """The sink of a scheme, with something at its other end."""
    scheme, other = request.param, None
    settings = {"url": "stdout:"}
    if scheme not in ("mqtt", "stdout") and BINARY is None:
        pytest.skip("needs mosquitto: apt-get install mosquitto")
    if scheme == "mqtt":
        broker.start()
        settings = {"url": f"mqtt://127.0.0.1:{broker.port}"}
    elif scheme == "3.1.1":
        other = Mosquitto(tmp_path / "old")
        other.start()
        settings = {"url": f"mqtt://127.0.0.1:{other.port}", "protocol": scheme}
    elif scheme == "mqtts":
        issued(tmp_path, "broker", issued(tmp_path, "authority"))
        files = f"cafile {tmp_path}/authority.pem\ncertfile {tmp_path}/broker.pem\nkeyfile {tmp_path}/broker.key\n"
        other = Mosquitto(tmp_path / "secure", files)
        other.start()
        settings = {"url": f"mqtts://127.0.0.1:{other.port}", "ca_file": f"{tmp_path}/authority.pem"}
    yield sinks.load(Broker(**settings), IDENTITY)
    if other is not None:
        other.kill()


@pytest.mark.parametrize("sink", [*SINKS, "3.1.1"], indirect=True)
def test_a_sink_acknowledges_every_message_once(sink, eventually, capsys):
    sink.open()
    for number in range(20):
        sink.send(Message("test/evt", json.dumps({"n": number}).encode(), sequence=number))
    receipts = []
    eventually(lambda: receipts.extend(sink.wait(0.2)) or len(receipts) >= 20, "the receipts")
    assert sorted(receipt.sequence for receipt in receipts) == list(range(20))
    assert not any(receipt.refused for receipt in receipts)
    sink.close()
    sink.close()


@pytest.mark.parametrize("sink", SINKS, indirect=True)
def test_a_sink_can_be_woken(sink):
    sink.open()
    sink.wait(0.5)
    woken = threading.Event()

    def wait():
        while not woken.is_set():
            sink.wait(0.9)
            woken.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    sink.wake()
    waiter.join(0.8)
    assert woken.is_set()
    sink.close()


def test_mqtt_says_why_it_cannot_connect():
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1"):
        sinks.load(Broker(url="mqtt://127.0.0.1:1"), IDENTITY).open()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\xff\xff\xff\xff\xff", b"\x20\x02\x00", b""]
)
def test_mqtt_survives_what_is_no_broker(answer):
    """Whatever comes back is a ConnectionError, which the forwarder waits out."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply():
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(answer)
            connection.close()

        threading.Thread(target=reply, daemon=True).start()
        sink = sinks.load(Broker(url=f"mqtt://127.0.0.1:{server.getsockname()[1]}"), IDENTITY)
        with pytest.raises(ConnectionError):
            sink.open()
        sink.close()


def test_mqtt_notices_a_broker_that_dies(broker, eventually):
    broker.start()
    sink = sinks.load(Broker(url=f"mqtt://127.0.0.1:{broker.port}"), IDENTITY)
    sink.open()
    broker.kill()

    def gone():
        try:
            sink.wait(0.2)
        except ConnectionError:
            return True
        return False

    eventually(gone, "the loss to be raised")
    sink.close()


# Sources


@pytest.fixture
def addresses(line, tmp_path):
    """One for each scheme; of what this machine does not have, one at which there is nothing."""
    camera, rtsp_camera = Camera(), RtspCamera()
    urls = {
        "file": f"file:{line}?fps=0",
        "http": camera.url,
        "rtsp": rtsp_camera.url,
        "https": camera.url.replace("http:", "https:"),
        "rtsps": rtsp_camera.url.replace("rtsp:", "rtsps:"),
        "v4l2": "v4l2:/dev/v4l/by-id/none",
        "picamera": "picamera:0",
    }
    yield {scheme: Address("door", url, tmp_path) for scheme, url in urls.items()}
    camera.close()
    rtsp_camera.close()


@pytest.mark.parametrize("scheme", ["file", "http", "rtsp"])
def test_a_source_counts_and_dates_its_frames(addresses, scheme):
    stop, frames = threading.Event(), []
    for frame in sources.load(addresses[scheme]).frames(stop):
        frames += [] if frame is None else [frame]
        if len(frames) == 20:
            stop.set()
    assert [frame.number for frame in frames] == list(range(20))
    assert all(a.taken < b.taken for a, b in itertools.pairwise(frames))
    for frame in frames:
        assert frame.camera == "door"
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.shape[2] == 3
        assert not frame.pixels.flags.writeable


@pytest.mark.parametrize("scheme", SOURCES)
def test_a_source_stops_when_told(addresses, scheme):
    assert scheme in addresses, "add an address for this source"
    stop = threading.Event()
    turns = 0
    for _ in sources.load(addresses[scheme]).frames(stop):
        turns += 1
        stop.set()
    assert turns == 1


# Backbone


def test_the_backbone_says_what_its_features_are():
    net = efficientnet_lite.load((2, 4, 10))
    with torch.inference_mode():
        shapes = [tuple(each.shape) for each in net(torch.zeros(1, 3, 224, 224))]
    assert shapes == [(1, c, 224 // s, 224 // s) for c, s in zip(net.channels, net.strides, strict=True)]


def test_an_unknown_part_is_refused_with_the_known_ones():
    with pytest.raises(ConfigProblem, match=r"model\.detector: unknown 'x'") as caught:
        anomaly.load("x", efficientnet_lite.load((4,)), 96)
    assert "padim" in caught.value.hint
