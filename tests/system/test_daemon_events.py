"""Frames -> events on a real broker, through the real daemon, whatever is killed on the way."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import time

from vedette.runtime.backoff import backoff
from vedette.runtime.events.forwarder import BACKOFF_MOST


def sequences(subscriber):
    return {int(event["sequence"]) for event in subscriber.events}


def test_a_recording_becomes_events(device, line, broker, subscriber, eventually):
    broker.start()
    eventually(subscriber.subscribed.is_set, "the subscription")
    device.configure(f"file:{line}?fps=0", f"mqtt://127.0.0.1:{broker.port}")
    process = device.start()
    assert process.wait(60) == 0, device.log()
    eventually(lambda: len(subscriber.events) == device.recorded(), "all events")

    news = [event for event in subscriber.events if event["type"] == "vedette.presence.new"]
    ends = [event for event in subscriber.events if event["type"] == "vedette.presence.end"]
    assert [event["data"]["frame"] for event in news] == list(range(2, 30, 3))
    assert [event["data"]["event"] for event in ends] == [event["id"] for event in news]
    assert [int(event["sequence"]) for event in subscriber.events] == list(range(1, 21))
    assert {message.topic for message in subscriber.messages if "/evt/" in message.topic} == {
        "test/v1/plant/hall/line1/box/evt/door/presence"
    }
    assert {event["source"] for event in news} == {"/plant/hall/line1/box/door"}
    box = news[0]["data"]["predictions"][0]["box"]
    assert 0 <= box["left"] < box["right"] <= 1
    assert 0 <= box["top"] < box["bottom"] <= 1
    assert device.waiting() == 0


def test_a_rule_over_tracks_tells_what_it_saw(device, line, broker, subscriber, eventually):
    """Every scratch is a thing of its own: a zone that is the whole picture tells of each with its track."""
    broker.start()
    eventually(subscriber.subscribed.is_set, "the subscription")
    device.configure(f"file:{line}?fps=0", f"mqtt://127.0.0.1:{broker.port}")
    path = device.folder / "cameras" / "door.toml"
    head, _, _ = path.read_text().partition("[[rules]]")
    zone = '[[rules]]\nuse = "zone"\ninertia = 0\nzones.all = [[0, 0], [1, 0], [1, 1], [0, 1]]\n'
    path.write_text(f"{head}[tracker]\nconfirm = 1\nkeep = 0.05\n{zone}")
    process = device.start()
    assert process.wait(60) == 0, device.log()
    eventually(lambda: subscriber.events and len(subscriber.events) == device.recorded(), "all events")
    stories = {}
    for event in subscriber.events:
        stories.setdefault(event["data"]["event"], []).append(event["data"])
    assert [each[0]["frame"] for each in stories.values()] == list(range(2, 30, 3))
    for number, (new, end) in enumerate(stories.values(), 1):
        assert (new["kind"], end["kind"]) == ("new", "end")
        assert new["track"] == end["track"] == new["predictions"][0]["track"] == number
        assert "before" not in new
        assert end["before"] == new["after"]
        assert new["after"]["counts"] == {"all": 1}
        assert new["after"]["zones"] == new["after"]["entered_zones"] == ["all"]
        assert end["after"].get("counts") == {"all": 0}


def test_others_see_whether_the_daemon_is_there(device, line, broker, subscriber, eventually):
    broker.start()
    eventually(subscriber.subscribed.is_set, "the subscription")
    device.configure(f"file:{line}?fps=10&loop=true", f"mqtt://127.0.0.1:{broker.port}")
    process = device.start()
    eventually(lambda: subscriber.latest("availability") == b"online", "online")
    info = json.loads(subscriber.latest("info"))
    assert info["camera"] == "door"
    assert info["model"].startswith("weave:1:")
    process.send_signal(signal.SIGKILL)
    eventually(lambda: subscriber.latest("availability") == b"offline", "the last will")

    process = device.start()
    eventually(lambda: subscriber.latest("availability") == b"online", "online again")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, device.log()
    eventually(lambda: subscriber.latest("availability") == b"stopped", "an orderly end")


def test_no_recorded_event_is_lost(device, line, broker, gate, subscriber, eventually):
    """The broker is away at the start and killed in the middle; the daemon is killed too. Every recorded event arrives.

    The daemon reaches the broker through a gate that opens only when the subscriber is there: a broker without
    persistence throws away what nobody subscribes to, and that is not what is tested.
    """
    device.configure(f"file:{line}?fps=30&loop=true", f"mqtt://127.0.0.1:{gate.port}")
    process = device.start()
    eventually(lambda: device.recorded() >= 5, "events while there is no broker")
    broker.start()
    eventually(subscriber.subscribed.is_set, "the subscription")
    gate.open = True
    eventually(lambda: len(subscriber.events) >= 10, "the backlog")

    count = len(subscriber.events)
    eventually(lambda: len(subscriber.events) > count, "a moment just after a delivery")
    broker.kill()
    gate.shut()
    eventually(lambda: not subscriber.subscribed.is_set(), "the subscriber to notice")
    recorded = device.recorded()
    eventually(lambda: device.recorded() >= recorded + 10, "events while the broker is away")
    process.send_signal(signal.SIGKILL)
    process.wait()
    survived = device.recorded()
    assert device.waiting() > 0

    broker.start()
    eventually(subscriber.subscribed.is_set, "the subscription again")
    gate.open = True
    process = device.start()
    eventually(lambda: survived in sequences(subscriber), "the backlog again")
    process.send_signal(signal.SIGKILL)
    process.wait()
    process = device.start()
    recorded = device.recorded()
    eventually(lambda: device.recorded() >= recorded + 5, "events of the third start")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, device.log()

    eventually(lambda: sequences(subscriber) >= set(range(1, device.recorded() + 1)), "every event ever recorded")
    assert sequences(subscriber) == set(range(1, device.recorded() + 1))
    assert len({event["epoch"] for event in subscriber.events}) == 1
    assert device.waiting() == 0


def test_it_speaks_to_its_broker_alone(device, line, tmp_path, broker):
    """The libraries in it would like to report to their makers: they keep nothing at home, and call nobody."""
    broker.start()
    device.configure(f"file:{line}?fps=0", f"mqtt://127.0.0.1:{broker.port}", backend="onnx")
    trace, home = tmp_path / "trace", tmp_path / "home"
    home.mkdir()
    if shutil.which("strace"):
        device.prefix = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace)]
    device.prefix = ["env", "-u", "CI", f"HOME={home}", *device.prefix]
    assert device.start().wait(60) == 0, device.log()
    assert list(home.rglob("*")) == []
    calls = trace.read_text().splitlines() if trace.exists() else []
    ports = {call.partition("htons(")[2].partition(")")[0] for call in calls if "AF_INET" in call}
    assert ports <= {str(broker.port)}


def test_an_ending_daemon_keeps_what_it_cannot_send(device, line, eventually):
    device.configure(f"file:{line}?fps=0", "mqtt://127.0.0.1:1")
    device.amend("outbox", "drain = 0.5")
    started = time.monotonic()
    assert device.start().wait(60) == 0, device.log()
    assert time.monotonic() - started < 30
    assert device.waiting() == device.recorded() == 20
    with sqlite3.connect(device.outbox) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_wait_between_attempts_is_bounded_for_ever():
    assert all(0 <= backoff(failures, BACKOFF_MOST) <= BACKOFF_MOST for failures in (0, 1, 10, 1_000, 1_000_000))
    assert max(backoff(0, BACKOFF_MOST) for _ in range(200)) <= 0.5
    assert max(backoff(1_000_000, BACKOFF_MOST) for _ in range(200)) > 30


def test_an_ending_daemon_uses_its_time_to_try(device, line, broker, gate, subscriber, eventually):
    """However long the wait has grown, a broker that comes back in the last seconds gets the events."""
    device.configure(f"file:{line}?fps=30&loop=true", f"mqtt://127.0.0.1:{gate.port}")
    device.amend("outbox", "drain = 20.0")
    process = device.start()
    broker.start()
    eventually(subscriber.subscribed.is_set, "the subscription")
    time.sleep(6)  # some failures, so that the bound of the wait has grown to many seconds
    gate.open = True
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0, device.log()
    assert device.waiting() == 0


def test_what_can_never_be_sent_holds_up_nobody(device, line, broker, subscriber, eventually):
    """A row whose topic no broker takes is set aside; those behind it arrive."""
    device.configure(f"file:{line}?fps=0", "mqtt://127.0.0.1:1")
    device.amend("outbox", "drain = 0.1")
    assert device.start().wait(60) == 0
    with sqlite3.connect(device.outbox) as database:
        query = """UPDATE events SET body = CAST(replace(CAST(body AS TEXT), ?, ?) AS BLOB) WHERE sequence = 1"""
        assert database.execute(query, ('"rule":"presence"', '"rule":"a/#"')).rowcount == 1
    broker.start()
    eventually(subscriber.subscribed.is_set, "the subscription")
    device.configure(f"file:{line}?fps=0", f"mqtt://127.0.0.1:{broker.port}")
    assert device.start().wait(60) == 0, device.log()
    eventually(lambda: sequences(subscriber) == set(range(2, 42)), "all but the first, and what is told of it")
    told = [event for event in subscriber.events if event["type"] == "vedette.broker.refused"]
    assert [event["data"]["sequence"] for event in told] == [1]
    assert device.waiting() == 1
    assert "refuses event 1" in device.log()
    assert "1 refused" in device.log()


def test_a_dead_forwarder_ends_the_daemon(device, line, eventually):
    """Whatever kills it, the process does not go on in silence: it ends with 4, and systemd starts it again."""
    device.configure(f"file:{line}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    process = device.start()
    eventually(lambda: device.recorded() >= 2, "the daemon to run")
    with sqlite3.connect(device.outbox) as database:
        database.execute("DROP TABLE events")
    assert process.wait(30) == 4
    assert device.log().strip().splitlines()[-1].startswith("  remedy: ")


def test_one_daemon_runs_one_camera(device, line, eventually):
    device.configure(f"file:{line}?fps=5&loop=true", "mqtt://127.0.0.1:1")
    device.start()
    eventually(lambda: device.recorded() >= 1, "the first daemon")
    assert device.start().wait(30) == 4
    assert "in use by another vedette" in device.log()


def test_stdout_is_a_sink(device, line):
    device.configure(f"file:{line}?fps=0", "stdout:")
    process = device.start()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, device.log()
    events = [json.loads(text) for text in output.splitlines()]
    assert [event["data"]["kind"] for event in events] == ["new", "end"] * 10
