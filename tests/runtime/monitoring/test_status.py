"""`vedette status` tells what the daemon is doing, and that it is not."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import datetime

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from vedette.runtime.clock import Clock
from vedette.runtime.events.topics import Topics
from vedette.runtime.monitoring.device_topics import Bulletin
from vedette.runtime.monitoring.status import Report, State


@pytest.fixture
def running(device, line, eventually):
    device.configure(f"file:{line}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    device.start()
    eventually(lambda: device.recorded() >= 4, "the daemon to run")
    return device


def test_it_tells_how_the_daemon_is(running, vedette):
    done = vedette("status", "door", "--config", running.folder, "--json")
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)
    assert report["camera"] == "door"
    assert report["model"].startswith("weave:1:")
    assert report["frames"] > 5
    assert 10 < report["frames_per_second"] < 25
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p95"] <= report["latency_ms"]["p99"]
    assert report["events"] >= 4
    counted = report["backlog"], report["events"], report["last_event"]["sequence"]
    assert max(counted) - min(counted) <= 2, "an event may come while it is told"
    assert report["faults"] == ["no connection to the broker"]
    assert 20 < report["memory_mb"] < 500
    shown = vedette("status", "--config", running.folder)
    assert shown.stdout.startswith("door: no connection to the broker\n")
    assert report["model"] in shown.stdout


def test_it_tells_where_none_runs(running, vedette, eventually):
    running.processes[0].send_signal(signal.SIGKILL)
    running.processes[0].wait()
    done = vedette("status", "--config", running.folder)
    assert (done.returncode, done.stdout) == (4, "door: does not run\n")
    assert json.loads(vedette("status", "--config", running.folder, "--json").stdout) == [{"camera": "door"}]
    running.start()
    eventually(lambda: vedette("status", "--config", running.folder).returncode == 0, "the next daemon to answer")


def test_prometheus_reads_it(running, vedette):
    done = vedette("metrics", "--config", running.folder)
    assert done.returncode == 0, done.stderr
    (family,) = (each for each in text_string_to_metric_families(done.stdout) if each.name == "vedette_frames")
    assert family.type == "counter"
    assert family.samples[0].labels == {"camera": "door"}
    assert family.samples[0].value > 5
    values = {name.name: name.samples for name in text_string_to_metric_families(done.stdout)}
    assert values["vedette_up"][0].value == 1
    assert {each.labels["quantile"] for each in values["vedette_detector_inference_speed_seconds"]} == {
        "0.5",
        "0.95",
        "0.99",
    }
    assert values["vedette_fault"][0].labels["fault"] == "no connection to the broker"
    assert values["vedette_broker_connected"][0].value == 0
    running.processes[0].kill()
    running.processes[0].wait()
    assert 'vedette_up{camera="door"} 0.0' in vedette("metrics", "--config", running.folder).stdout


def test_prometheus_reads_it_over_http(running, eventually):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vedette.runtime.cli", "metrics", "--config", str(running.folder)]
    server = subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == f"http://127.0.0.1:{port}/metrics\n"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert 'vedette_up{camera="door"} 1.0' in answer.read().decode()
    server.terminate()
    assert server.wait(10) == 0


def test_who_connects_and_says_nothing_holds_up_nobody(running, vedette):
    before = running.recorded()
    address = f"/proc/self/fd/{os.open(running.outbox.parent, os.O_PATH)}/status.sock"
    silent = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    for each in silent:
        each.connect(address)
    (report,) = json.loads(vedette("status", "--config", running.folder, "--json").stdout)
    assert report["frames"] > 0
    for each in silent:
        each.close()
    assert running.recorded() >= before


def test_it_is_published_too(device, line, broker, subscriber, eventually):
    broker.start()
    eventually(subscriber.subscribed.is_set, "the subscription")
    device.configure(f"file:{line}?fps=20&loop=true", f"mqtt://127.0.0.1:{broker.port}")
    device.start()
    eventually(lambda: subscriber.latest("stats"), "the first")
    report = json.loads(subscriber.latest("stats"))
    assert (report["camera"], report["connected"]) == ("door", True)


def test_what_holds_now_is_retained(device, line, broker, subscriber, eventually):
    broker.start()
    eventually(subscriber.subscribed.is_set, "the subscription")
    device.configure(f"file:{line}?fps=1&loop=true", f"mqtt://127.0.0.1:{broker.port}")
    device.start()
    state = lambda: json.loads(subscriber.latest("state") or "{}")  # noqa: E731
    eventually(lambda: state().get("open") == ["presence"], "an event that has begun")
    eventually(lambda: state() == {"open": [], "faults": []}, "its end")


class Right(Clock):
    """A clock that is synchronised."""

    def quality(self):
        return "synced"


def test_the_right_time_is_told(running, vedette):
    (report,) = json.loads(vedette("status", "door", "--config", running.folder, "--json").stdout)
    whole, topics = msgspec.convert(report, Report), Topics("test/v1/box", "/box")
    bulletin = Bulletin("door", lambda: State(whole.open, whole.faults), lambda: whole, topics, Right())
    state, stats, correlation = bulletin.due()
    assert [each.topic.split("/")[3] for each in (state, stats, correlation)] == ["state", "stats", "time"]
    assert all(each.retain for each in (state, stats, correlation))
    told = json.loads(correlation.payload)
    assert told["bootid"] == Clock().boot
    assert told["boottime"] == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=5)
    assert datetime.fromisoformat(told["time"]).timestamp() == pytest.approx(time.time(), abs=5)
    assert bulletin.due() == []
    bulletin.anew()
    assert len(bulletin.due()) == 3


def test_without_cameras_it_says_where_it_looked(tmp_path, vedette):
    done = vedette("status", "--config", tmp_path)
    assert done.returncode == 2
    assert str(tmp_path / "cameras") in done.stderr
