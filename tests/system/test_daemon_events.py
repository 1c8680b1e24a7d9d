"""End to end: the daemon process delivers events to a real broker, also if the daemon or the broker is killed."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import time

from vedette.runtime.backoff import backoff_seconds
from vedette.runtime.events.forwarder import MAX_BACKOFF_SECONDS


def sequence_numbers(subscriber):
    return {int(event["sequence"]) for event in subscriber.events}


def test_recording_is_delivered_as_events(daemon_process, line_images, broker, subscriber, wait_until):
    broker.start()
    wait_until(subscriber.subscribed.is_set, "the subscription")
    daemon_process.configure(f"file:{line_images}?fps=0", f"mqtt://127.0.0.1:{broker.port}")
    process = daemon_process.start()
    assert process.wait(60) == 0, daemon_process.log()
    wait_until(lambda: len(subscriber.events) == daemon_process.recorded(), "all events")

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
    assert daemon_process.waiting() == 0


def test_zone_rule_reports_track_and_zones(daemon_process, line_images, broker, subscriber, wait_until):
    """A zone of the whole frame reports each scratch with a track number of its own."""
    broker.start()
    wait_until(subscriber.subscribed.is_set, "the subscription")
    daemon_process.configure(f"file:{line_images}?fps=0", f"mqtt://127.0.0.1:{broker.port}")
    zone = '[[rules]]\nuse = "zone"\ninertia = 0\nzones.all = [[0, 0], [1, 0], [1, 1], [0, 1]]\n'
    daemon_process.set_rules(f"[tracker]\nconfirm = 1\nkeep = 0.05\n{zone}")
    process = daemon_process.start()
    assert process.wait(60) == 0, daemon_process.log()
    wait_until(lambda: subscriber.events and len(subscriber.events) == daemon_process.recorded(), "all events")
    messages_by_event = {}
    for event in subscriber.events:
        messages_by_event.setdefault(event["data"]["event"], []).append(event["data"])
    assert [each[0]["frame"] for each in messages_by_event.values()] == list(range(2, 30, 3))
    for number, (new, end) in enumerate(messages_by_event.values(), 1):
        assert (new["kind"], end["kind"]) == ("new", "end")
        assert new["track"] == end["track"] == new["predictions"][0]["track"] == number
        assert "before" not in new
        assert end["before"] == new["after"]
        assert new["after"]["counts"] == {"all": 1}
        assert new["after"]["zones"] == new["after"]["entered_zones"] == ["all"]
        assert end["after"].get("counts") == {"all": 0}


def test_availability_topic_shows_daemon_state(daemon_process, line_images, broker, subscriber, wait_until):
    broker.start()
    wait_until(subscriber.subscribed.is_set, "the subscription")
    daemon_process.configure(f"file:{line_images}?fps=10&loop=true", f"mqtt://127.0.0.1:{broker.port}")
    process = daemon_process.start()
    wait_until(lambda: subscriber.latest("availability") == b"online", "online")
    wait_until(lambda: subscriber.latest("info") is not None, "the info message")
    info = json.loads(subscriber.latest("info"))
    assert info["camera"] == "door"
    assert info["model"].startswith("weave:1:")
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: subscriber.latest("availability") == b"offline", "the last will")

    process = daemon_process.start()
    wait_until(lambda: subscriber.latest("availability") == b"online", "online again")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, daemon_process.log()
    wait_until(lambda: subscriber.latest("availability") == b"stopped", "the stop message")


def test_no_recorded_event_is_lost(daemon_process, line_images, broker, broker_proxy, subscriber, wait_until):
    """The broker is absent at the start and killed later; the daemon is killed too. Every recorded event arrives.

    The daemon reaches the broker through a proxy that opens only when the subscriber is connected: a broker without
    persistence drops messages without a subscriber, which is not what is tested.
    """
    daemon_process.configure(f"file:{line_images}?fps=30&loop=true", f"mqtt://127.0.0.1:{broker_proxy.port}")
    process = daemon_process.start()
    wait_until(lambda: daemon_process.recorded() >= 5, "events while there is no broker")
    broker.start()
    wait_until(subscriber.subscribed.is_set, "the subscription")
    broker_proxy.open = True
    wait_until(lambda: len(subscriber.events) >= 10, "the backlog")

    count = len(subscriber.events)
    wait_until(lambda: len(subscriber.events) > count, "one more delivery")
    broker.kill()
    broker_proxy.shut()
    wait_until(lambda: not subscriber.subscribed.is_set(), "the subscriber to notice")
    recorded = daemon_process.recorded()
    wait_until(lambda: daemon_process.recorded() >= recorded + 10, "events while the broker is away")
    process.send_signal(signal.SIGKILL)
    process.wait()
    last_recorded = daemon_process.recorded()
    assert daemon_process.waiting() > 0

    broker.start()
    wait_until(subscriber.subscribed.is_set, "the subscription again")
    broker_proxy.open = True
    process = daemon_process.start()
    wait_until(lambda: last_recorded in sequence_numbers(subscriber), "the backlog again")
    process.send_signal(signal.SIGKILL)
    process.wait()
    process = daemon_process.start()
    recorded = daemon_process.recorded()
    wait_until(lambda: daemon_process.recorded() >= recorded + 5, "events of the third start")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, daemon_process.log()

    wait_until(
        lambda: sequence_numbers(subscriber) >= set(range(1, daemon_process.recorded() + 1)),
        "every event ever recorded",
    )
    assert sequence_numbers(subscriber) == set(range(1, daemon_process.recorded() + 1))
    assert len({event["epoch"] for event in subscriber.events}) == 1
    assert daemon_process.waiting() == 0


def test_daemon_connects_only_to_its_broker(daemon_process, line_images, tmp_path, broker):
    """Libraries with telemetry write nothing into the home folder and open no other connection."""
    broker.start()
    daemon_process.configure(f"file:{line_images}?fps=0", f"mqtt://127.0.0.1:{broker.port}", backend="onnx")
    trace, home = tmp_path / "trace", tmp_path / "home"
    home.mkdir()
    if shutil.which("strace"):
        daemon_process.prefix = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace)]
    daemon_process.prefix = ["env", "-u", "CI", f"HOME={home}", *daemon_process.prefix]
    assert daemon_process.start().wait(60) == 0, daemon_process.log()
    assert list(home.rglob("*")) == []
    calls = trace.read_text().splitlines() if trace.exists() else []
    ports = {call.partition("htons(")[2].partition(")")[0] for call in calls if "AF_INET" in call}
    assert ports <= {str(broker.port)}


def test_stopping_daemon_keeps_undelivered_events(daemon_process, line_images):
    daemon_process.configure(f"file:{line_images}?fps=0", "mqtt://127.0.0.1:1")
    daemon_process.amend("outbox", "drain = 0.5")
    started = time.monotonic()
    assert daemon_process.start().wait(60) == 0, daemon_process.log()
    assert time.monotonic() - started < 30
    assert daemon_process.waiting() == daemon_process.recorded() == 20
    with sqlite3.connect(daemon_process.outbox) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_backoff_is_bounded():
    assert all(
        0 <= backoff_seconds(failures, MAX_BACKOFF_SECONDS) <= MAX_BACKOFF_SECONDS
        for failures in (0, 1, 10, 1_000, 1_000_000)
    )
    assert max(backoff_seconds(0, MAX_BACKOFF_SECONDS) for _ in range(200)) <= 0.5
    assert max(backoff_seconds(1_000_000, MAX_BACKOFF_SECONDS) for _ in range(200)) > 30


def test_stopping_daemon_retries_during_drain(
    daemon_process, line_images, broker, broker_proxy, subscriber, wait_until
):
    """A broker that returns during the drain receives the events, however long the back-off has become."""
    daemon_process.configure(f"file:{line_images}?fps=30&loop=true", f"mqtt://127.0.0.1:{broker_proxy.port}")
    daemon_process.amend("outbox", "drain = 20.0")
    process = daemon_process.start()
    broker.start()
    wait_until(subscriber.subscribed.is_set, "the subscription")
    time.sleep(6)  # several failures raise the bound of the back-off to many seconds
    broker_proxy.open = True
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0, daemon_process.log()
    assert daemon_process.waiting() == 0


def test_event_with_invalid_topic_becomes_dead_letter(daemon_process, line_images, broker, subscriber, wait_until):
    """No broker accepts the topic of the first event; the events after it arrive."""
    daemon_process.configure(f"file:{line_images}?fps=0", "mqtt://127.0.0.1:1")
    daemon_process.amend("outbox", "drain = 0.1")
    assert daemon_process.start().wait(60) == 0
    with sqlite3.connect(daemon_process.outbox) as database:
        query = """UPDATE events SET body = CAST(replace(CAST(body AS TEXT), ?, ?) AS BLOB) WHERE sequence = 1"""
        assert database.execute(query, ('"rule":"presence"', '"rule":"a/#"')).rowcount == 1
    broker.start()
    wait_until(subscriber.subscribed.is_set, "the subscription")
    daemon_process.configure(f"file:{line_images}?fps=0", f"mqtt://127.0.0.1:{broker.port}")
    assert daemon_process.start().wait(60) == 0, daemon_process.log()
    wait_until(
        lambda: sequence_numbers(subscriber) == set(range(2, 42)),
        "all but the first event, and the system event about it",
    )
    refusals = [event for event in subscriber.events if event["type"] == "vedette.broker.refused"]
    assert [event["data"]["sequence"] for event in refusals] == [1]
    assert daemon_process.waiting() == 1
    assert "refuses event 1" in daemon_process.log()
    assert "1 refused" in daemon_process.log()


def test_daemon_exits_4_if_the_forwarder_dies(daemon_process, line_images, wait_until):
    """The daemon does not run on without its forwarder: it exits, and systemd restarts it."""
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    process = daemon_process.start()
    wait_until(lambda: daemon_process.recorded() >= 2, "the daemon to run")
    with sqlite3.connect(daemon_process.outbox) as database:
        database.execute("DROP TABLE events")
    assert process.wait(30) == 4
    assert daemon_process.log().strip().splitlines()[-1].startswith("  remedy: ")


def test_second_daemon_of_a_camera_exits_4(daemon_process, line_images, wait_until):
    daemon_process.configure(f"file:{line_images}?fps=5&loop=true", "mqtt://127.0.0.1:1")
    daemon_process.start()
    wait_until(lambda: daemon_process.recorded() >= 1, "the first daemon")
    assert daemon_process.start().wait(30) == 4
    assert "has the state folder" in daemon_process.log()


def test_stdout_sink_prints_events(daemon_process, line_images):
    daemon_process.configure(f"file:{line_images}?fps=0", "stdout:")
    process = daemon_process.start()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, daemon_process.log()
    events = [json.loads(text) for text in output.splitlines()]
    assert [event["data"]["kind"] for event in events] == ["new", "end"] * 10
