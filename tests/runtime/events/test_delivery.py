"""What the forwarder makes of a broker that refuses, is sent twice, forgets, or asks who is there."""

from __future__ import annotations

import json
import os
import time

import msgspec
import pytest
from certificates import issued
from mosquitto import BINARY, Mosquitto
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from vedette.runtime.config.configuration import Broker
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.events import sinks
from vedette.runtime.events.event import Event, new_id
from vedette.runtime.events.forwarder import Forwarder
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.topics import Topics

pytestmark = pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto")
TOPICS = Topics("v/v1/a/b/c/box", "/a/b/c/box")


def event(number):
    identifier = new_id()
    return Event(identifier, identifier, "door", "presence", "new", float(number), number, float(number), 3.5)


class Box:
    """An outbox and its forwarder, without a camera."""

    def __init__(self, folder, url, client="box", **broker):
        self.outbox = Outbox(folder / client / "outbox.db", 1 << 20, volatile=True, camera="door")
        identity = sinks.Identity(client, (), commands=TOPICS.replay())
        self.forwarder = Forwarder(self.outbox, sinks.load(Broker(url=url, **broker), identity), TOPICS)

    def start(self):
        self.forwarder.start()

    def stop(self):
        self.forwarder.drain(0.5)
        self.outbox.close()


@pytest.fixture
def make(tmp_path, listen):
    boxes, brokers = [], []

    class Make:
        def box(self, url, **more):
            boxes.append(Box(tmp_path, url, **more))
            return boxes[-1]

        def broker(self, more=""):
            brokers.append(Mosquitto(tmp_path / f"broker{len(brokers)}", more))
            brokers[-1].start()
            return brokers[-1]

        def subscriber(self, port):
            subscriber = listen(port)
            assert subscriber.subscribed.wait(10)
            return subscriber

    yield Make()
    for box in boxes:
        box.stop()
    for broker in brokers:
        broker.kill()


def url(broker):
    return f"mqtt://127.0.0.1:{broker.port}"


def numbers(subscriber):
    return [int(each["sequence"]) for each in subscriber.events]


def test_what_the_broker_will_never_take_is_a_dead_letter(make, tmp_path, eventually):
    """It may write to one rule's topic and not to another's: the one arrives, the other is kept and told of once."""
    rights = tmp_path / "acl"
    rights.write_text(
        "topic read #\ntopic write v/v1/a/b/c/box/evt/door/presence\ntopic write v/v1/a/b/c/box/evt/door/broker\n"
    )
    broker = make.broker(f"acl_file {rights}\n")
    subscriber, box = make.subscriber(broker.port), make.box(url(broker))
    forbidden = msgspec.structs.replace(event(1), rule="secret")
    box.outbox.put(event(0), forbidden, forbidden, event(3))
    box.start()
    eventually(lambda: numbers(subscriber) == [1, 4, 5], "those that it may send")
    (told,) = [each for each in subscriber.events if each["type"] == "vedette.broker.refused"]
    assert told["data"] == {"sequence": 2, "reason": "Not authorized"}
    eventually(lambda: box.outbox.backlog() == 0, "the acknowledgements")
    assert box.outbox.refused() == 2


def test_nobody_there_is_no_delivery_where_a_subscriber_is_required(make, monkeypatch, eventually):
    monkeypatch.setattr("vedette.runtime.events.forwarder.BACKOFF_MOST", 1.0)
    broker = make.broker()
    box = make.box(url(broker), require_subscriber=True)
    box.outbox.put(event(0))
    box.start()
    eventually(lambda: box.forwarder.connected, "the connection")
    time.sleep(1.0)
    assert box.outbox.backlog() == 1
    subscriber = make.subscriber(broker.port)
    eventually(lambda: numbers(subscriber) == [1], "the event")
    eventually(lambda: box.outbox.backlog() == 0, "its acknowledgement")


def test_what_a_broker_forgot_can_be_had_again(make, eventually):
    broker = make.broker()
    subscriber, box = make.subscriber(broker.port), make.box(url(broker))
    for number in range(40):
        box.outbox.put(event(number))
    box.start()
    eventually(lambda: len(subscriber.events) == 40, "all of it")
    ids = [each["id"] for each in subscriber.events]
    eventually(lambda: box.outbox.backlog() == 0, "the acknowledgements")

    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic, properties.CorrelationData = "answers", b"17"
    for order in ({"epoch": "other", "from": 1, "to": 9}, {"epoch": box.outbox.epoch, "from": 11, "to": 15}, {"a": 1}):
        subscriber.client.publish(TOPICS.replay(), json.dumps(order), 1, properties=properties)
    answers = lambda: [each for each in subscriber.messages if each.topic == "answers"]  # noqa: E731
    eventually(lambda: len(subscriber.events) == 45 and len(answers()) == 2, "five once more, and two answers")
    assert [each["id"] for each in subscriber.events[40:]] == ids[10:15]
    assert json.loads(answers()[0].payload) == {"replayed": 5}
    assert "error" in json.loads(answers()[1].payload)
    assert answers()[0].properties.CorrelationData == b"17"
    box.outbox.put(event(99))
    eventually(lambda: numbers(subscriber)[-1] == 41, "what came meanwhile")
    assert len(subscriber.events) == 46


def test_two_with_one_name_are_noticed(make, monkeypatch, eventually):
    monkeypatch.setattr("vedette.runtime.events.forwarder.BACKOFF_MOST", 0.5)  # else it takes minutes
    broker = make.broker()
    subscriber = make.subscriber(broker.port)
    first, second = make.box(url(broker)), make.box(url(broker), client="twin")
    second.forwarder.sink.identity = first.forwarder.sink.identity
    first.start()
    second.start()
    kinds = lambda: {each["type"] for each in subscriber.events}  # noqa: E731
    eventually(lambda: "vedette.broker.duplicate_identity" in kinds(), "somebody to notice", seconds=60)


def test_a_frozen_broker_is_waited_for(make, monkeypatch, eventually):
    """Frozen, it takes connections and says nothing: neither the recording nor the thread stops turning."""
    monkeypatch.setattr("vedette.runtime.events.forwarder.ACKNOWLEDGE_SECONDS", 1.0)
    broker = make.broker()
    subscriber, box = make.subscriber(broker.port), make.box(url(broker), keepalive=5)
    box.start()
    eventually(lambda: box.forwarder.connected, "the connection")
    broker.freeze()
    for number in range(20):
        box.outbox.put(event(number))
    time.sleep(4)
    assert time.monotonic() - box.forwarder.ticked < 8
    assert box.outbox.backlog() == 20
    broker.thaw()
    eventually(lambda: set(numbers(subscriber)) == set(range(1, 21)), "all of it", seconds=40)


def test_both_sides_may_ask_for_a_certificate(make, tmp_path, eventually):
    authority = issued(tmp_path, "authority")
    for name in ("broker", "client"):
        issued(tmp_path, name, authority)
    issued(tmp_path, "stranger")
    files = f"cafile {tmp_path}/authority.pem\ncertfile {tmp_path}/broker.pem\nkeyfile {tmp_path}/broker.key\n"
    plain = make.broker()
    with_tls = Mosquitto(tmp_path / "tls", files + "require_certificate true\n")
    with_tls.start()
    secure = f"mqtts://127.0.0.1:{with_tls.port}"
    ours = {"ca_file": f"{tmp_path}/authority.pem", "cert_file": f"{tmp_path}/client.pem"}
    try:
        box = make.box(secure, client="known", key_file=f"{tmp_path}/client.key", **ours)
        for number in range(50):
            box.outbox.put(event(number))
        box.start()
        eventually(lambda: box.outbox.backlog() == 0, "all of it, through TLS")
        nameless = make.box(secure, client="nameless", ca_file=f"{tmp_path}/authority.pem")
        fooled = make.box(secure, client="fooled", ca_file=f"{tmp_path}/stranger.pem")
        garbled = make.box(f"mqtts://127.0.0.1:{plain.port}", client="garbled", ca_file=ours["ca_file"])
        for each in (nameless, fooled, garbled):
            each.outbox.put(event(0))
            each.start()
        time.sleep(2)
        assert [each.outbox.backlog() for each in (nameless, fooled, garbled)] == [1, 1, 1]
        assert all(each.forwarder.is_alive() for each in (nameless, fooled, garbled))
    finally:
        with_tls.kill()
    with pytest.raises(ConfigProblem, match=r"nothing\.pem"):
        make.box(secure, client="e", ca_file=f"{tmp_path}/nothing.pem")


@pytest.fixture
def filled(device, line):
    """A camera that has sent nothing yet, with ten events."""
    device.configure(f"file:{line}?fps=0", "mqtt://127.0.0.1:1")
    device.amend("outbox", "drain = 0.1")
    assert device.start().wait(60) == 0, device.log()
    return device


def test_people_can_look_into_it(filled, vedette):
    done = vedette("outbox", "list", "door", "--config", filled.folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("20 waiting, 0 dead, 0 delivered")
    assert "vedette.presence.new" in done.stdout
    listed = json.loads(vedette("outbox", "list", "door", "--config", filled.folder, "--json").stdout)
    assert [each["sequence"] for each in listed["events"]] == list(range(1, 21))
    exported = vedette("outbox", "export", "door", "--config", filled.folder).stdout.splitlines()
    assert [json.loads(text)["id"] for text in exported] == [each["id"] for each in listed["events"]]
    assert json.loads(vedette("outbox", "dead", "door", "--config", filled.folder, "--json").stdout) == []


def test_people_can_have_it_sent_again(filled, vedette, make, eventually):
    again = ("outbox", "replay", "door", "--config", filled.folder, "--from", "3", "--to", "5")
    assert "0 events" in vedette(*again).stdout, "nothing was delivered"
    broker = make.broker()
    subscriber = make.subscriber(broker.port)
    text = (filled.folder / "vedette.toml").read_text().replace("mqtt://127.0.0.1:1", url(broker))
    (filled.folder / "vedette.toml").write_text(text.replace("drain = 0.1", "drain = 10"))
    assert filled.start().wait(60) == 0, filled.log()
    eventually(lambda: len(subscriber.events) == 40, "both runs")
    assert "3 events" in vedette(*again).stdout
    assert filled.start().wait(60) == 0, filled.log()
    eventually(lambda: len(subscriber.events) == 63, "the third run, and three once more")
    assert sorted(numbers(subscriber))[:8] == [1, 2, 3, 3, 4, 4, 5, 5]


def test_a_running_daemon_is_asked_through_the_broker(device, line, vedette, eventually):
    device.configure(f"file:{line}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    device.start()
    eventually(lambda: device.recorded() >= 2, "the daemon to run")
    done = vedette("outbox", "replay", "door", "--config", device.folder)
    assert done.returncode == 4
    assert "test/v1/plant/hall/line1/box/cmd/replay" in done.stderr
    assert '"from":1' in done.stderr


def test_who_asks_for_a_replay_of_a_corrupt_outbox_loses_nothing(device, line, vedette):
    """What can be read is in the new file, as if the daemon had started; looking alone tells and changes nothing."""
    device.configure(f"file:{line}?fps=0", "mqtt://127.0.0.1:1")
    outbox = Outbox(device.outbox, 1 << 20, volatile=True, camera="door")
    outbox.put(*map(event, range(1500)))
    outbox.close()
    with device.outbox.open("r+b") as file:
        file.seek(device.outbox.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    looked = vedette("outbox", "export", "door", "--config", device.folder)
    assert looked.returncode == 4
    assert str(device.outbox) in looked.stderr
    assert "Traceback" not in looked.stderr
    assert not list(device.outbox.parent.glob("outbox.corrupt-*"))
    done = vedette("outbox", "replay", "door", "--config", device.folder)
    assert done.returncode == 0, done.stderr
    again = Outbox(device.outbox, 1 << 20, volatile=True)
    kinds = [row.event.kind for row in again.after(0, 10_000)]
    assert kinds[-1] == "recovered"
    assert kinds.count("new") > 1400
    again.close()


def test_without_an_outbox_it_says_where_it_looked(device, line, vedette):
    device.configure(f"file:{line}", "mqtt://127.0.0.1:1")
    done = vedette("outbox", "list", "door", "--config", device.folder)
    assert done.returncode == 4
    assert str(device.outbox) in done.stderr


def test_a_password_may_come_from_systemd(device, line, vedette, tmp_path, monkeypatch):
    device.configure(f"file:{line}?fps=0", "mqtt://127.0.0.1:1")
    device.amend("broker", 'username = "u"\npassword_file = "credential:mqtt"')
    done = vedette("run", "door", "--config", device.folder)
    assert done.returncode == 2
    assert "LoadCredential" in done.stderr
    (tmp_path / "mqtt").write_text("secret\n")
    monkeypatch.setitem(os.environ, "CREDENTIALS_DIRECTORY", str(tmp_path))
    device.amend("outbox", "drain = 0.1")
    assert vedette("run", "door", "--config", device.folder).returncode == 0
