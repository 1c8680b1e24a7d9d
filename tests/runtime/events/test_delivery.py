"""Delivery to a broker that refuses events, loses them, freezes, or requires certificates; and `vedette outbox`."""

from __future__ import annotations

import json
import os
import socket
import threading
import time

import msgspec
import pytest
from certificates import issue_certificate
from events import make_event
from hypothesis import HealthCheck, Phase, given, settings, strategies
from limited_broker import LimitedBroker
from mosquitto import BINARY, Mosquitto
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from waiting import patience

from vedette.runtime.config.configuration import BrokerSettings
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.events import sinks
from vedette.runtime.events.forwarder import Forwarder
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.replay import Replay
from vedette.runtime.events.sinks import Command
from vedette.runtime.events.topics import Topics
from vedette.runtime.inference.prediction import Box, Prediction

pytestmark = [
    pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto"),
    pytest.mark.wait,
]
TOPICS = Topics("v/v1/a/b/c/device", "/a/b/c/device")
ANSWERS = f"{TOPICS.responses()}archive"


class Device:
    """An outbox and its forwarder, without a camera."""

    def __init__(self, folder, url, client="box", **broker):
        self.outbox = Outbox(folder / client / "outbox.db", 1 << 20, volatile=True, camera="door")
        identity = sinks.MqttSessionSettings(client, (), command_topic=TOPICS.replay())
        self.forwarder = Forwarder(self.outbox, sinks.load_sink(BrokerSettings(url=url, **broker), identity), TOPICS)

    def start(self):
        self.forwarder.start()

    def stop(self):
        self.forwarder.drain(0.5)
        self.outbox.close()


@pytest.fixture
def testbed(tmp_path, subscribe):
    devices, brokers = [], []

    class Testbed:
        """Starts devices, brokers and subscribers."""

        def device(self, url, **settings):
            devices.append(Device(tmp_path, url, **settings))
            return devices[-1]

        def broker(self, settings=""):
            brokers.append(Mosquitto(tmp_path / f"broker{len(brokers)}", settings))
            brokers[-1].start()
            return brokers[-1]

        def subscriber(self, port):
            subscriber = subscribe(port)
            assert subscriber.subscribed.wait(10)
            return subscriber

    yield Testbed()
    for device in devices:
        device.stop()
    for broker in brokers:
        broker.kill()


def url(broker):
    return f"mqtt://127.0.0.1:{broker.port}"


def sequence_numbers(subscriber):
    return [int(each["sequence"]) for each in subscriber.events]


def publish_command(subscriber, payload, reply_to=ANSWERS, retain=False):
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic, properties.CorrelationData = reply_to, b"17"
    subscriber.client.publish(TOPICS.replay(), payload, 1, retain, properties)


def test_permanently_refused_event_becomes_dead_letter(testbed, tmp_path, wait_until):
    """The access control permits one rule's topic: its events arrive; the others are dead letters, reported once."""
    acl = tmp_path / "acl"
    acl.write_text(
        "topic read #\ntopic write v/v1/a/b/c/device/evt/door/presence\ntopic write v/v1/a/b/c/device/evt/door/broker\n"
    )
    broker = testbed.broker(f"acl_file {acl}\n")
    subscriber, device = testbed.subscriber(broker.port), testbed.device(url(broker))
    forbidden = msgspec.structs.replace(make_event(1), rule="secret")
    device.outbox.put(make_event(0), forbidden, forbidden, make_event(3))
    device.start()
    wait_until(lambda: sequence_numbers(subscriber) == [1, 4, 5], "the permitted events")
    (report,) = [each for each in subscriber.events if each["type"] == "vedette.broker.refused"]
    assert report["data"] == {"sequence": 2, "reason": "Not authorized"}
    wait_until(lambda: device.outbox.count_pending() == 0, "the acknowledgements")
    assert device.outbox.count_dead_letters() == 2


def test_require_subscriber_holds_events_until_someone_subscribes(testbed, monkeypatch, wait_until):
    monkeypatch.setattr("vedette.runtime.events.forwarder.MAX_BACKOFF_SECONDS", 0.5)
    broker = testbed.broker()
    device = testbed.device(url(broker), require_subscriber=True)
    device.outbox.put(make_event(0))
    device.start()
    wait_until(lambda: device.forwarder.sink.no_subscribers, "the broker's answer")
    time.sleep(1.0)
    assert device.outbox.count_pending() == 1
    subscriber = testbed.subscriber(broker.port)
    wait_until(lambda: sequence_numbers(subscriber) == [1], "the event")
    wait_until(lambda: device.outbox.count_pending() == 0, "its acknowledgement")


def test_replay_command_sends_delivered_events_again(testbed, wait_until):
    broker = testbed.broker()
    subscriber, device = testbed.subscriber(broker.port), testbed.device(url(broker))
    for number in range(40):
        device.outbox.put(make_event(number))
    device.start()
    wait_until(lambda: len(subscriber.events) == 40, "all events")
    ids = [each["id"] for each in subscriber.events]
    wait_until(lambda: device.outbox.count_pending() == 0, "the acknowledgements")

    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic, properties.CorrelationData = ANSWERS, b"17"
    for request in (
        {"epoch": "other", "from": 1, "to": 9},
        {"epoch": device.outbox.epoch, "from": 11, "to": 15},
        {"a": 1},
    ):
        subscriber.client.publish(TOPICS.replay(), json.dumps(request), 1, properties=properties)
    answers = lambda: [each for each in subscriber.messages if each.topic == ANSWERS]  # noqa: E731
    wait_until(lambda: len(subscriber.events) == 45 and len(answers()) == 2, "five replayed events and two answers")
    assert [each["id"] for each in subscriber.events[40:]] == ids[10:15]
    assert json.loads(answers()[0].payload) == {"replayed": 5}
    assert "error" in json.loads(answers()[1].payload)
    assert answers()[0].properties.CorrelationData == b"17"
    device.outbox.put(make_event(99))
    wait_until(lambda: sequence_numbers(subscriber)[-1] == 41, "the new event")
    assert len(subscriber.events) == 46


def test_duplicate_client_id_is_reported(testbed, monkeypatch, wait_until):
    monkeypatch.setattr("vedette.runtime.events.forwarder.MAX_BACKOFF_SECONDS", 0.5)  # the default takes minutes
    broker = testbed.broker()
    subscriber = testbed.subscriber(broker.port)
    first, second = testbed.device(url(broker)), testbed.device(url(broker), client="twin")
    second.forwarder.sink.identity = first.forwarder.sink.identity
    first.start()
    second.start()
    kinds = lambda: {each["type"] for each in subscriber.events}  # noqa: E731
    wait_until(lambda: "vedette.broker.duplicate_identity" in kinds(), "the system event", seconds=60)


def test_frozen_broker_blocks_neither_recording_nor_forwarder(testbed, monkeypatch, wait_until):
    """A frozen broker accepts connections, but never answers."""
    monkeypatch.setattr("vedette.runtime.events.forwarder.ACKNOWLEDGE_SECONDS", 1.0)
    broker = testbed.broker()
    subscriber, device = testbed.subscriber(broker.port), testbed.device(url(broker), keepalive=5)
    device.start()
    wait_until(lambda: device.forwarder.connected, "the connection")
    broker.freeze()
    for number in range(20):
        device.outbox.put(make_event(number))
    time.sleep(4)
    assert time.monotonic() - device.forwarder.last_iteration < 8
    assert device.outbox.count_pending() == 20
    broker.thaw()
    wait_until(lambda: set(sequence_numbers(subscriber)) == set(range(1, 21)), "all events", seconds=40)


def test_mutual_tls_delivers_and_refuses_untrusted_peers(testbed, tmp_path, wait_until):
    authority = issue_certificate(tmp_path, "authority")
    for name in ("broker", "client"):
        issue_certificate(tmp_path, name, authority)
    issue_certificate(tmp_path, "untrusted")
    files = f"cafile {tmp_path}/authority.pem\ncertfile {tmp_path}/broker.pem\nkeyfile {tmp_path}/broker.key\n"
    plain = testbed.broker()
    with_tls = Mosquitto(tmp_path / "tls", files + "require_certificate true\n")
    with_tls.start()
    secure = f"mqtts://127.0.0.1:{with_tls.port}"
    client_files = {"ca_file": f"{tmp_path}/authority.pem", "cert_file": f"{tmp_path}/client.pem"}
    try:
        device = testbed.device(secure, client="trusted", key_file=f"{tmp_path}/client.key", **client_files)
        for number in range(50):
            device.outbox.put(make_event(number))
        device.start()
        wait_until(lambda: device.outbox.count_pending() == 0, "all events, through TLS")
        without_certificate = testbed.device(secure, client="without-certificate", ca_file=f"{tmp_path}/authority.pem")
        wrong_authority = testbed.device(secure, client="wrong-authority", ca_file=f"{tmp_path}/untrusted.pem")
        no_tls = testbed.device(f"mqtts://127.0.0.1:{plain.port}", client="no-tls", ca_file=client_files["ca_file"])
        for each in (without_certificate, wrong_authority, no_tls):
            each.outbox.put(make_event(0))
            each.start()
        time.sleep(2)
        assert [each.outbox.count_pending() for each in (without_certificate, wrong_authority, no_tls)] == [1, 1, 1]
        assert all(each.forwarder.is_alive() for each in (without_certificate, wrong_authority, no_tls))
    finally:
        with_tls.kill()
    with pytest.raises(ConfigProblem, match=r"nothing\.pem"):
        testbed.device(secure, client="e", ca_file=f"{tmp_path}/nothing.pem")


def test_no_more_events_wait_for_the_broker_than_it_takes_at_once(testbed, wait_until):
    broker = LimitedBroker(receive_maximum=5)
    device = testbed.device(broker.url)
    for number in range(30):
        device.outbox.put(make_event(number))
    device.start()
    wait_until(lambda: device.outbox.count_pending() == 0, "all events")
    assert (broker.taken, broker.exceeded) == (30, 0)
    assert 1 < broker.most <= 5
    broker.close()


def test_a_broker_that_does_not_know_the_version_of_mqtt_is_told():
    """It closes the connection without an answer, as RabbitMQ 3.10 does at MQTT 5."""

    def close_at_once():
        stream, _ = server.accept()
        with stream:
            stream.recv(1000)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=close_at_once, daemon=True).start()
        broker = BrokerSettings(url=f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        sink = sinks.load_sink(broker, sinks.MqttSessionSettings("box", ()))
        with pytest.raises(ConnectionError, match=r"does not answer MQTT 5$"):
            sink.open()
        sink.close()


@pytest.fixture
def daemon_with_backlog(daemon_process, line_images):
    """A stopped daemon whose outbox holds 20 pending messages."""
    daemon_process.configure(f"file:{line_images}?fps=0", "mqtt://127.0.0.1:1")
    daemon_process.amend("outbox", "drain = 0.1")
    assert daemon_process.start().wait(60) == 0, daemon_process.log()
    return daemon_process


def test_outbox_command_lists_and_exports_events(daemon_with_backlog, call_vedette):
    done = call_vedette("outbox", "list", "door", "--config", daemon_with_backlog.folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("20 waiting, 0 dead, 0 delivered")
    assert "vedette.presence.new" in done.stdout
    listed = json.loads(call_vedette("outbox", "list", "door", "--config", daemon_with_backlog.folder, "--json").stdout)
    assert [each["sequence"] for each in listed["events"]] == list(range(1, 21))
    exported = call_vedette("outbox", "export", "door", "--config", daemon_with_backlog.folder).stdout.splitlines()
    assert [json.loads(text)["id"] for text in exported] == [each["id"] for each in listed["events"]]
    assert (
        json.loads(call_vedette("outbox", "dead", "door", "--config", daemon_with_backlog.folder, "--json").stdout)
        == []
    )


def test_outbox_replay_command_sends_delivered_events_again(daemon_with_backlog, call_vedette, testbed, wait_until):
    replay = ("outbox", "replay", "door", "--config", daemon_with_backlog.folder, "--from", "3", "--to", "5")
    assert "0 events" in (nothing := call_vedette(*replay).stdout), "nothing was delivered"
    assert "none of the delivered events 3 to 5 is kept" in nothing
    broker = testbed.broker()
    subscriber = testbed.subscriber(broker.port)
    text = (daemon_with_backlog.folder / "vedette.toml").read_text().replace(daemon_with_backlog.no_broker, url(broker))
    (daemon_with_backlog.folder / "vedette.toml").write_text(text.replace("drain = 0.1", "drain = 10"))
    assert daemon_with_backlog.start().wait(60) == 0, daemon_with_backlog.log()
    wait_until(lambda: len(subscriber.events) == 40, "both runs")
    assert "3 events" in call_vedette(*replay).stdout
    assert daemon_with_backlog.start().wait(60) == 0, daemon_with_backlog.log()
    wait_until(lambda: len(subscriber.events) == 63, "the third run and three replayed events")
    assert sorted(sequence_numbers(subscriber))[:8] == [1, 2, 3, 3, 4, 4, 5, 5]


def test_outbox_replay_while_daemon_runs_names_the_command_topic(daemon_process, line_images, call_vedette, wait_until):
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    daemon_process.start()
    wait_until(lambda: daemon_process.recorded() >= 2, "the daemon to run")
    done = call_vedette("outbox", "replay", "door", "--config", daemon_process.folder)
    assert done.returncode == 4
    assert "test/v1/plant/hall/line1/box/cmd/replay" in done.stderr
    assert '"from":1' in done.stderr


def test_outbox_replay_recovers_corrupt_file_and_export_leaves_it(daemon_process, line_images, call_vedette):
    """`replay` recovers readable events into a new file, like the daemon does. `export` only reports the fault."""
    daemon_process.configure(f"file:{line_images}?fps=0", "mqtt://127.0.0.1:1")
    outbox = Outbox(daemon_process.outbox, 1 << 20, volatile=True, camera="door")
    outbox.put(*map(make_event, range(1500)))
    outbox.close()
    with daemon_process.outbox.open("r+b") as file:
        file.seek(daemon_process.outbox.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    exported = call_vedette("outbox", "export", "door", "--config", daemon_process.folder)
    assert exported.returncode == 4
    assert str(daemon_process.outbox) in exported.stderr
    assert "Traceback" not in exported.stderr
    assert not list(daemon_process.outbox.parent.glob("outbox.corrupt-*"))
    done = call_vedette("outbox", "replay", "door", "--config", daemon_process.folder)
    assert done.returncode == 0, done.stderr
    recovered = Outbox(daemon_process.outbox, 1 << 20, volatile=True)
    kinds = [row.event.kind for row in recovered.read_after(0, 10_000)]
    assert kinds[-1] == "recovered"
    assert kinds.count("new") > 1400
    recovered.close()


def test_missing_outbox_error_names_the_path(daemon_process, line_images, call_vedette):
    daemon_process.configure(f"file:{line_images}", "mqtt://127.0.0.1:1")
    done = call_vedette("outbox", "list", "door", "--config", daemon_process.folder)
    assert done.returncode == 4
    assert str(daemon_process.outbox) in done.stderr


def test_password_can_be_a_systemd_credential(daemon_process, line_images, run_vedette, tmp_path, monkeypatch):
    daemon_process.configure(f"file:{line_images}?fps=0", "mqtt://127.0.0.1:1")
    daemon_process.amend("broker", 'username = "u"\npassword_file = "credential:mqtt"')
    done = run_vedette("run", "door", "--config", daemon_process.folder)
    assert done.returncode == 2
    assert "LoadCredential" in done.stderr
    (tmp_path / "mqtt").write_text("secret\n")
    monkeypatch.setitem(os.environ, "CREDENTIALS_DIRECTORY", str(tmp_path))
    daemon_process.amend("outbox", "drain = 0.1")
    assert run_vedette("run", "door", "--config", daemon_process.folder).returncode == 0


HOSTILE = [
    b'{"epoch":"\xff","from":1,"to":2}',
    b'{"epoch":"EPOCH","from":1,"to":9223372036854775808}',
    b'{"epoch":"EPOCH","from":-9223372036854775808,"to":9}',
    b'{"epoch":"EPOCH","from":1e300,"to":NaN}',
    b"[" * 100_000,
    b"",
    b"\x00" * 60_000,
]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(
    payload=strategies.binary(max_size=200)
    | strategies.sampled_from(HOSTILE)
    | strategies.recursive(
        strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(max_size=20),
        lambda inner: strategies.dictionaries(strategies.sampled_from(["epoch", "from", "to", "x"]), inner, max_size=4),
    ).map(lambda value: json.dumps(value).encode()),
    reply_to=strategies.sampled_from([ANSWERS, "other/device/cmd/stop", "", f"{TOPICS.responses()}a/b"]),
    retained=strategies.booleans(),
)
def check_commands(replay, outbox, payload, reply_to, retained):
    body = payload.replace(b"EPOCH", outbox.epoch.encode())
    answer = replay.answer(Command(body, reply_to, b"", retained))
    assert answer is None or (answer.topic.startswith(TOPICS.responses()) and not retained)


def test_no_command_raises_and_answers_go_to_response_topics_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("vedette.runtime.events.replay.MAX_COMMANDS", 10_000)
    outbox = Outbox(tmp_path / "outbox.db", 1 << 20, volatile=True)
    outbox.put(make_event(0))
    outbox.acknowledge([1])
    check_commands(Replay(outbox, TOPICS), outbox)
    outbox.close()


def test_flood_of_commands_stops_nothing_and_delays_no_event(testbed, wait_until):
    """Hostile and well-formed commands, some retained, at 50 a second: each new event arrives within a second."""
    broker = testbed.broker()
    subscriber, device = testbed.subscriber(broker.port), testbed.device(url(broker))
    for number in range(400):
        device.outbox.put(make_event(number))
    device.start()
    wait_until(lambda: device.outbox.count_pending() == 0, "the history")
    good = json.dumps({"epoch": device.outbox.epoch, "from": 1, "to": 400})
    publish_command(subscriber, good, retain=True)
    delays = []
    for turn in range(100):
        payload = (
            good if turn % 2 else HOSTILE[turn // 2 % len(HOSTILE)].replace(b"EPOCH", device.outbox.epoch.encode())
        )
        publish_command(subscriber, payload, reply_to="other/device/cmd/stop" if turn % 3 else ANSWERS)
        if turn % 10 == 9:
            sent, number = time.monotonic(), device.outbox.put(make_event(turn))
            device.forwarder.sink.wake()
            wait_until(lambda number=number: number in sequence_numbers(subscriber)[-500:], "the new event")
            delays.append(time.monotonic() - sent)
        time.sleep(0.02)
    assert max(delays) < 4 * patience()
    assert device.forwarder.is_alive()
    assert not any(each.topic.startswith("other/") for each in subscriber.messages)
    replayed = lambda: len(subscriber.events) - 410  # noqa: E731
    wait_until(lambda: replayed() >= 400, "the replay, which one of the commands asked for")


def test_retained_command_is_ignored_at_each_connection(testbed, wait_until):
    broker = testbed.broker()
    subscriber, device = testbed.subscriber(broker.port), testbed.device(url(broker))
    for number in range(20):
        device.outbox.put(make_event(number))
    request = {"epoch": device.outbox.epoch, "from": 1, "to": 20}
    publish_command(subscriber, json.dumps(request), retain=True)
    wait_until(lambda: subscriber.client.want_write() is False, "the command")
    device.start()
    wait_until(lambda: device.outbox.count_pending() == 0, "the events")
    time.sleep(1.0)
    assert len(subscriber.events) == 20
    assert device.outbox.count_replays() == 0


def test_event_larger_than_the_broker_takes_blocks_no_other(testbed, wait_until):
    """Mosquitto says in CONNACK what it takes: the event becomes a dead letter, is told, and the next ones arrive."""
    broker = testbed.broker("max_packet_size 20000\n")
    subscriber, device = testbed.subscriber(broker.port), testbed.device(url(broker))
    boxes = (Prediction("dent", 0.5, Box(0.1, 0.2, 0.3, 0.4)),) * 400
    device.outbox.put(make_event(0), msgspec.structs.replace(make_event(1), predictions=boxes), make_event(2))
    device.start()
    wait_until(lambda: sequence_numbers(subscriber) == [1, 3, 4], "the events that fit, and the report")
    (report,) = [each for each in subscriber.events if each["type"] == "vedette.broker.refused"]
    assert report["data"]["sequence"] == 2
    assert "larger than the broker takes, 20000" in report["data"]["reason"]
    wait_until(lambda: device.outbox.count_pending() == 0, "the acknowledgements")
    assert device.outbox.count_dead_letters() == 1


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_broker_that_disconnects_at_one_event_gets_the_others(testbed, monkeypatch, wait_until, protocol):
    """Mosquitto closes the connection at a packet above its limit, if a client ignores it or has not been told it."""
    monkeypatch.setattr("vedette.runtime.events.forwarder.MAX_BACKOFF_SECONDS", 0.2)
    monkeypatch.setattr("vedette.runtime.events.sinks.mqtt.packet_bytes", lambda _: 0)
    broker = testbed.broker("max_packet_size 20000\n")
    subscriber, device = testbed.subscriber(broker.port), testbed.device(url(broker), protocol=protocol)
    boxes = (Prediction("dent", 0.5, Box(0.1, 0.2, 0.3, 0.4)),) * 400
    events = [make_event(number) for number in range(6)]
    events[3] = msgspec.structs.replace(events[3], predictions=boxes)
    device.outbox.put(*events)
    device.start()
    wait_until(lambda: {1, 2, 3, 5, 6} <= set(sequence_numbers(subscriber)), "the events that fit")
    wait_until(lambda: device.outbox.count_pending() == 0, "the acknowledgements")
    assert device.outbox.count_dead_letters() == 1
    assert device.forwarder.is_alive()
