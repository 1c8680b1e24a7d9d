"""`vedette status`, `vedette metrics` and the retained topics report the state of the daemon."""

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
from published import make_report

from vedette.runtime.camera.sources import FrameCounts
from vedette.runtime.clock import Clock
from vedette.runtime.commands.status import _print_report, request_statuses
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.events.topics import Topics
from vedette.runtime.monitoring.status import DaemonState, StatusReport
from vedette.runtime.monitoring.status_messages import StatusMessages


@pytest.fixture
def running(daemon_process, line_images, wait_until):
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    daemon_process.start()
    wait_until(lambda: daemon_process.recorded() >= 4, "the daemon to run")
    return daemon_process


def test_status_reports_running_daemon(running, call_vedette):
    done = call_vedette("status", "door", "--config", running.folder, "--json")
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)
    assert report["camera"] == "door"
    assert report["model"].startswith("weave:1:")
    assert report["frames"] > 5
    assert 10 < report["frames_per_second"] < 25
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p95"] <= report["latency_ms"]["p99"]
    assert report["events"] >= 4
    counts = report["backlog"], report["events"], report["last_event"]["sequence"]
    assert max(counts) - min(counts) <= 2, "an event may be recorded during the request"
    assert report["faults"] == ["no connection to the broker"]
    assert 20 < report["memory_mb"] < 500
    assert report["drift"]["samples"] >= 1
    assert report["recalibration"] is None
    shown = call_vedette("status", "--config", running.folder)
    assert shown.stdout.startswith("door: no connection to the broker\n")
    assert report["model"] in shown.stdout
    assert "samples; no drift shown" in shown.stdout


def test_status_exits_4_if_daemon_is_not_running(running, call_vedette, wait_until):
    running.processes[0].send_signal(signal.SIGKILL)
    running.processes[0].wait()
    done = call_vedette("status", "--config", running.folder)
    assert (done.returncode, done.stdout) == (4, "door: not running\n")
    assert json.loads(call_vedette("status", "--config", running.folder, "--json").stdout) == [{"camera": "door"}]
    running.start()
    wait_until(lambda: call_vedette("status", "--config", running.folder).returncode == 0, "the next daemon to answer")


def test_metrics_are_valid_prometheus_text(running, call_vedette):
    done = call_vedette("metrics", "--config", running.folder)
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
    assert 'vedette_up{camera="door"} 0.0' in call_vedette("metrics", "--config", running.folder).stdout


def test_metrics_are_served_over_http(running):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vedette.runtime.cli", "metrics", "--config", str(running.folder)]
    server = subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == f"http://127.0.0.1:{port}/metrics\n"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert 'vedette_up{camera="door"} 1.0' in answer.read().decode()
    server.terminate()
    assert server.wait(10) == 0


def test_silent_clients_do_not_block_status_socket(running, call_vedette):
    before = running.recorded()
    address = f"/proc/self/fd/{os.open(running.outbox.parent, os.O_PATH)}/status.sock"
    silent = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    for each in silent:
        each.connect(address)
    (report,) = json.loads(call_vedette("status", "--config", running.folder, "--json").stdout)
    assert report["frames"] > 0
    for each in silent:
        each.close()
    assert running.recorded() >= before


def test_status_is_published_on_stats_topic(daemon_process, line_images, broker, subscriber, wait_until):
    broker.start()
    wait_until(subscriber.subscribed.is_set, "the subscription")
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", f"mqtt://127.0.0.1:{broker.port}")
    daemon_process.start()
    wait_until(lambda: subscriber.latest("stats"), "the first report")
    report = json.loads(subscriber.latest("stats"))
    assert (report["camera"], report["connected"]) == ("door", True)


def test_state_topic_shows_open_events(daemon_process, line_images, broker, subscriber, wait_until):
    broker.start()
    wait_until(subscriber.subscribed.is_set, "the subscription")
    daemon_process.configure(f"file:{line_images}?fps=1&loop=true", f"mqtt://127.0.0.1:{broker.port}")
    daemon_process.start()
    state = lambda: json.loads(subscriber.latest("state") or "{}")  # noqa: E731
    wait_until(lambda: state().get("open") == ["presence"], "an open event")
    wait_until(lambda: state() == {"open": [], "faults": []}, "its end")


class SynchronizedClock(Clock):
    """A clock that is synchronized."""

    def time_quality(self):
        return "synced"


def test_retained_topics_include_time_correlation(running, call_vedette):
    (report,) = json.loads(call_vedette("status", "door", "--config", running.folder, "--json").stdout)
    status, topics = msgspec.convert(report, StatusReport), Topics("test/v1/box", "/box")
    status_messages = StatusMessages(
        "door", lambda: DaemonState(status.open, status.faults), lambda: status, topics, SynchronizedClock()
    )
    state, stats, correlation = status_messages.pending_messages()
    assert [each.topic.split("/")[3] for each in (state, stats, correlation)] == ["state", "stats", "time"]
    assert all(each.retain for each in (state, stats, correlation))
    time_correlation = json.loads(correlation.payload)
    assert time_correlation["bootid"] == Clock().boot
    assert time_correlation["boottime"] == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=5)
    assert datetime.fromisoformat(time_correlation["time"]).timestamp() == pytest.approx(time.time(), abs=5)
    assert status_messages.pending_messages() == []
    status_messages.reset()
    assert len(status_messages.pending_messages()) == 3


@pytest.mark.parametrize(("unstamped", "shown"), [(0, ""), (3, ", 3 without a time of exposure")])
def test_status_counts_frames_without_their_time(unstamped, shown, capsys):
    _print_report("door", make_report(pictures=FrameCounts(dropped=1, unstamped=unstamped)))
    assert f"  camera      1 dropped, 0 late, 0 restarts{shown}\n" in capsys.readouterr().out


def test_status_without_cameras_names_the_folder(tmp_path, call_vedette):
    done = call_vedette("status", "--config", tmp_path)
    assert done.returncode == 2
    assert str(tmp_path / "cameras") in done.stderr


def test_unknown_camera_lists_those_that_there_are(tmp_path):
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text("")
    for name in ("door", "belt"):
        (tmp_path / "cameras" / f"{name}.toml").write_text("")
    with pytest.raises(ConfigProblem, match="no such camera") as caught:
        request_statuses(tmp_path, "dor")
    assert caught.value.hint == "there are belt, door"
