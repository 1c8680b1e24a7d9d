"""Contract tests: every entry of every plugin table. A new entry is tested without a change here."""

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
from certificates import issue_certificate
from mosquitto import BINARY, Mosquitto
from rtsp import RtspCamera

from vedette.compress import tasks
from vedette.compress.export import compilers
from vedette.compress.export.compilers import COMPILERS
from vedette.compress.models import anomaly, efficientnet_lite
from vedette.compress.models.anomaly import ANOMALY_MODELS
from vedette.compress.tasks import TASKS
from vedette.runtime import integrations, rules
from vedette.runtime.camera import sources
from vedette.runtime.camera.frame import Frame
from vedette.runtime.camera.sources import SOURCES, SourceAddress
from vedette.runtime.config.configuration import BrokerSettings
from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.events import receivers, sinks
from vedette.runtime.events.receivers import RECEIVERS
from vedette.runtime.events.sinks import SINKS, Message, MqttSessionSettings
from vedette.runtime.inference import backends, heads
from vedette.runtime.inference.backends import BACKENDS
from vedette.runtime.inference.golden_outputs import max_step_difference, step_tolerance
from vedette.runtime.inference.heads import HEADS
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.inference.self_test import ACCELERATORS
from vedette.runtime.integrations import INTEGRATIONS
from vedette.runtime.rules import RULES, RuleContext

TABLES = [
    (backends, BACKENDS),
    (heads, HEADS),
    (rules, RULES),
    (sinks, SINKS),
    (receivers, RECEIVERS),
    (sources, SOURCES),
    (anomaly, ANOMALY_MODELS),
    (tasks, TASKS),
    (integrations, INTEGRATIONS),
    (compilers, COMPILERS),
]


@pytest.mark.parametrize(("package", "table"), TABLES, ids=lambda each: getattr(each, "__name__", ""))
def test_every_entry_is_importable_and_documented(package, table):
    for reference in table.values():
        module, _, attribute = reference.partition(":")
        loaded = importlib.import_module(module, package.__name__)
        assert loaded.__doc__
        assert getattr(loaded, attribute).__doc__


# Back ends


def load_or_skip(name, bundle, threads=1):
    """The back end; skipped with its own words if its accelerator or library is not here."""
    try:
        return backends.load_backend(name, bundle, threads)
    except Problem as problem:
        if name in ACCELERATORS:
            pytest.skip(f"{problem.message}; {problem.hint}")
        raise


@pytest.mark.parametrize("name", BACKENDS)
def test_backend_reproduces_golden_outputs(anomaly_bundle, name):
    backend = load_or_skip(name, anomaly_bundle)
    allowed = step_tolerance(backend.version) if name in ACCELERATORS else 1
    assert max_step_difference(anomaly_bundle, backend) <= allowed


@pytest.mark.parametrize("name", BACKENDS)
def test_backend_outputs_match_the_manifest(anomaly_bundle, name):
    outputs = load_or_skip(name, anomaly_bundle, threads=2).run(anomaly_bundle.golden("image")[:1])
    assert {key: (each.shape, each.dtype) for key, each in outputs.items()} == {
        output.name: (output.shape, np.dtype(np.uint8)) for output in anomaly_bundle.manifest.outputs
    }


@pytest.mark.parametrize("name", BACKENDS)
def test_backend_is_stateless(anomaly_bundle, name):
    backend = load_or_skip(name, anomaly_bundle)
    first, second = anomaly_bundle.golden("image")[:1], anomaly_bundle.golden("image")[-1:]
    expected = {key: each.copy() for key, each in backend.run(first).items()}
    backend.run(second)
    again = backend.run(first)
    assert all(np.array_equal(expected[key], again[key]) for key in expected)
    assert not np.array_equal(expected["map"], backend.run(second)["map"])


@pytest.mark.parametrize("name", BACKENDS)
def test_backend_refuses_another_shape_and_closes(anomaly_bundle, name):
    backend = load_or_skip(name, anomaly_bundle)
    image = anomaly_bundle.golden("image")[:1]
    for wrong in (image[:, :-1], image[..., :1], image[0]):
        with pytest.raises(Exception, match=r"shape|[Dd]imension|[Rr]ank|size"):
            backend.run(np.ascontiguousarray(wrong))
    assert backend.run(image)
    backend.close()
    backend.close()
    with pytest.raises((AttributeError, TypeError)):
        backend.run(image)


def test_fastest_backend_is_chosen(anomaly_bundle):
    class Slow:
        version = "slow"

        def run(self, tensor):
            time.sleep(0.05)
            return {}

    fast = backends.load_backend("onnx", anomaly_bundle)
    assert backends.fastest_backend([Slow(), fast], anomaly_bundle.golden("image")[:1]) is fast


# Heads


@pytest.mark.build
@pytest.mark.parametrize("task", HEADS)
def test_head_decodes_golden_outputs(request, task):
    bundle = request.getfixturevalue(
        {
            "anomaly": "anomaly_bundle",
            "behaviour": "behaviour_bundle",
            "classify": "class_bundle",
            "detect": "detection_bundle",
        }[task]
    )
    assert bundle.manifest.task == task
    head = heads.load_head(bundle.manifest)
    for index in range(len(bundle.golden("image"))):
        outputs = {output.name: bundle.golden(output.name)[index] for output in bundle.manifest.outputs}
        for prediction in head(outputs):
            assert isinstance(prediction, Prediction)
            assert prediction.label in bundle.manifest.labels


def test_anomaly_head_boxes_region_above_threshold(anomaly_bundle):
    score, anomaly_map = anomaly_bundle.manifest.output("score"), anomaly_bundle.manifest.output("map")
    height, width = anomaly_map.shape[-2:]
    integers = np.zeros(anomaly_map.shape, np.uint8)
    integers[..., 2:4, 5] = 255
    outputs = {"map": integers, "score": np.full(score.shape, 255, np.uint8)}
    (prediction,) = heads.load_head(anomaly_bundle.manifest)(outputs)
    assert prediction.score == pytest.approx(score.scale * (255 - score.zero_point), abs=1e-3)
    edges = (prediction.box.left, prediction.box.top, prediction.box.right, prediction.box.bottom)
    assert edges == pytest.approx((5 / width, 2 / height, 6 / width, 4 / height), abs=1e-3)
    (normal,) = heads.load_head(anomaly_bundle.manifest)(
        {"map": integers * 0, "score": np.zeros(score.shape, np.uint8)}
    )
    assert normal.box is None


def test_classify_head_answers_unknown_below_threshold(class_bundle):
    """Equal scores give `unknown`, a clear score gives its class, and a high temperature gives `unknown` again."""
    manifest = class_bundle.manifest
    classes, scores = len(manifest.classes), manifest.output("scores")
    equal = {"scores": np.full(scores.shape, 100, np.uint8)}
    (undecided,) = heads.load_head(manifest)(equal)
    assert (undecided.label, undecided.box) == ("unknown", None)
    assert undecided.score == pytest.approx(1 / classes, abs=1e-4)
    clear = np.zeros(scores.shape, np.uint8)
    clear.flat[1] = 255
    (decided,) = heads.load_head(manifest)({"scores": clear})
    assert decided.label == manifest.classes[1]
    hot = msgspec.structs.replace(manifest, temperature=1000.0)
    assert heads.load_head(hot)({"scores": clear})[0].label == "unknown"


# Rules

SQUARE = [[0.2, 0.2], [0.8, 0.2], [0.8, 0.9], [0.2, 0.9]]
SETTINGS = {
    "crossing": {"line": [[0.5, 0.0], [0.5, 1.0]]},
    "crowd": {"count": 1},
    "dwell": {"seconds": 1.0},
    "fall": {"seconds": 0.5},
    "intrusion": {"polygon": SQUARE},
    "left_object": {"seconds": 2.0, "learn": 5.0},
    "lying": {"seconds": 0.5},
    "presence": {},
    "queue": {"polygon": SQUARE, "count": 1, "seconds": 1.0},
    "removed_object": {"seconds": 2.0, "learn": 5.0},
    "running": {"limit": 0.5},
    "speed": {"points": SQUARE, "metres": [[0, 0], [5, 0], [5, 5], [0, 5]], "limit": 5},
    "tailgate": {"line": [[0.5, 0.0], [0.5, 1.0]], "seconds": 30.0},
    "wrong_way": {"way": [[0.0, 0.5], [1.0, 0.5]]},
    "zone": {"polygon": SQUARE},
}


def replay_events(name):
    """Events of a rule in a minute: an object moves to and fro, with missed detections, falls at last and lies; a dark
    patch appears.
    """
    rng = np.random.default_rng(0)
    rule = rules.load_rule({"use": name} | SETTINGS[name], RuleContext("door", "model", 1.0, ("anomaly", "other")))
    for number in range(600):
        pixels = np.full((90, 160, 3), 150, np.uint8)
        if (150 < number < 300) != (name == "removed_object"):
            pixels[40:60, 60:90] = 40
        middle = 0.5 + 0.4 * np.sin(min(number, 440) / 10)
        wide, tall = np.interp(number, (470, 476), (0.2, 0.5)), np.interp(number, (470, 476), (0.4, 0.2))
        box = Box(middle - wide / 2, 0.7 - tall, middle + wide / 2, 0.7)
        detected = (Prediction("anomaly", float(rng.uniform(0.8, 2)), box, track=1),)
        yield from rule.observe(Frame("door", number, number / 10, pixels), detected if rng.random() < 0.9 else ())
    yield from rule.close()
    assert not list(rule.close())


@pytest.mark.parametrize("name", RULES)
def test_rule_events_are_complete(name):
    """Every event has one `new`, then updates, then one `end`."""
    kinds_by_event = {}
    for event in replay_events(name):
        assert event.rule == name
        assert event.started <= event.taken
        kinds_by_event.setdefault(event.event, []).append(event.kind)
    assert kinds_by_event
    for kinds in kinds_by_event.values():
        assert kinds[0] == "new"
        assert kinds[-1] == "end"
        assert set(kinds[1:-1]) <= {"update"}


@pytest.mark.parametrize("name", RULES)
def test_rule_is_deterministic(name):
    first, second = (
        [
            (event.kind, event.frame, event.taken, event.top_score, event.before, event.after)
            for event in replay_events(name)
        ]
        for _ in range(2)
    )
    assert first == second


# Sinks

WILL = Message("test/availability", b"offline", retain=True)
IDENTITY = MqttSessionSettings("client", (Message("test/availability", b"online", retain=True),), WILL, WILL)


@pytest.fixture
def sink(request, broker, tmp_path):
    """The sink of a URL scheme, connected to a broker of its own."""
    scheme, server = request.param, None
    settings = {"url": f"{scheme}:"}
    if scheme in ("mqtts", "3.1.1") and BINARY is None:
        pytest.skip("needs mosquitto: apt-get install mosquitto")
    if scheme == "mqtt":
        broker.start()
        settings = {"url": f"mqtt://127.0.0.1:{broker.port}"}
    elif scheme == "3.1.1":
        server = Mosquitto(tmp_path / "old")
        server.start()
        settings = {"url": f"mqtt://127.0.0.1:{server.port}", "protocol": scheme}
    elif scheme == "mqtts":
        issue_certificate(tmp_path, "broker", issue_certificate(tmp_path, "authority"))
        files = f"cafile {tmp_path}/authority.pem\ncertfile {tmp_path}/broker.pem\nkeyfile {tmp_path}/broker.key\n"
        server = Mosquitto(tmp_path / "secure", files)
        server.start()
        settings = {"url": f"mqtts://127.0.0.1:{server.port}", "ca_file": f"{tmp_path}/authority.pem"}
    yield sinks.load_sink(BrokerSettings(**settings), IDENTITY)
    if server is not None:
        server.kill()


@pytest.mark.parametrize("sink", [*SINKS, "3.1.1"], indirect=True)
def test_sink_acknowledges_every_message_once(sink, wait_until):
    sink.open()
    for number in range(20):
        sink.send(Message("test/evt", json.dumps({"n": number}).encode(), sequence=number))
    acknowledgements = []
    wait_until(lambda: acknowledgements.extend(sink.wait(0.2)) or len(acknowledgements) >= 20, "acknowledgements")
    assert sorted(each.sequence for each in acknowledgements) == list(range(20))
    assert not any(each.refused for each in acknowledgements)
    sink.close()
    sink.close()


@pytest.mark.parametrize("sink", SINKS, indirect=True)
def test_sink_wait_returns_on_wake(sink):
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


def test_mqtt_connection_error_names_the_address():
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1"):
        sinks.load_sink(BrokerSettings(url="mqtt://127.0.0.1:1"), IDENTITY).open()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\xff\xff\xff\xff\xff", b"\x20\x02\x00", b""]
)
def test_mqtt_reports_invalid_answer_as_connection_error(answer):
    """The forwarder retries after a ConnectionError."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply():
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(answer)
            connection.close()

        threading.Thread(target=reply, daemon=True).start()
        sink = sinks.load_sink(BrokerSettings(url=f"mqtt://127.0.0.1:{server.getsockname()[1]}"), IDENTITY)
        with pytest.raises(ConnectionError):
            sink.open()
        sink.close()


def test_mqtt_detects_broker_crash(broker, wait_until):
    broker.start()
    sink = sinks.load_sink(BrokerSettings(url=f"mqtt://127.0.0.1:{broker.port}"), IDENTITY)
    sink.open()
    broker.kill()

    def connection_lost():
        try:
            sink.wait(0.2)
        except ConnectionError:
            return True
        return False

    wait_until(connection_lost, "the ConnectionError")
    sink.close()


# Sources


@pytest.fixture
def addresses(line_images, tmp_path):
    """A source address for each scheme; nothing answers at addresses of hardware that this machine lacks."""
    camera, rtsp_camera = Camera(), RtspCamera()
    urls = {
        "file": f"file:{line_images}?fps=0",
        "http": camera.url,
        "rtsp": rtsp_camera.url,
        "https": camera.url.replace("http:", "https:"),
        "rtsps": rtsp_camera.url.replace("rtsp:", "rtsps:"),
        "v4l2": "v4l2:/dev/v4l/by-id/none",
        "picamera": "picamera:0",
        "genicam": "genicam:Nobody",
    }
    yield {scheme: SourceAddress("door", url, tmp_path) for scheme, url in urls.items()}
    camera.close()
    rtsp_camera.close()


@pytest.mark.parametrize("scheme", ["file", "http", "rtsp"])
def test_source_numbers_and_timestamps_frames(addresses, scheme):
    stop, frames = threading.Event(), []
    for frame in sources.load_source(addresses[scheme]).frames(stop):
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
def test_source_stops_on_request(addresses, scheme):
    assert scheme in addresses, "add an address for this source"
    stop = threading.Event()
    iterations = 0
    for _ in sources.load_source(addresses[scheme]).frames(stop):
        iterations += 1
        stop.set()
    assert iterations == 1


# Backbone


def test_backbone_features_match_channels_and_strides():
    net = efficientnet_lite.load_backbone((2, 4, 10))
    with torch.inference_mode():
        shapes = [tuple(each.shape) for each in net(torch.zeros(1, 3, 224, 224))]
    assert shapes == [(1, c, 224 // s, 224 // s) for c, s in zip(net.channels, net.strides, strict=True)]


def test_unknown_name_error_lists_known_names():
    with pytest.raises(ConfigProblem, match=r"model\.detector: unknown 'x'") as caught:
        anomaly.load_anomaly_model("x", efficientnet_lite.load_backbone((4,)), 96)
    assert "padim" in caught.value.hint
