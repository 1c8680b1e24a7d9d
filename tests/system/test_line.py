"""A line in front of the real daemon: each trigger gets one verdict, in order, in the outbox and at the broker."""

from __future__ import annotations

import signal

import pytest
from paths import ROOT

VIDEOS = ROOT.parent / "shared" / "data" / "videos"


def write_triggers(daemon_process, count, every=0.02, first=0.2):
    lines = [f"{first + number * every:.3f} S-{number + 1:04d}\n" for number in range(count)]
    (daemon_process.folder / "cameras" / "triggers.txt").write_text("".join(lines))


def configure(daemon_process, source, url, trigger="", keys='source = "file:triggers.txt"'):
    daemon_process.configure(source, url)
    daemon_process.set_rules(f"[trigger]\n{keys}\n{trigger}\n")


def verdicts_of(subscriber):
    return [event["data"] for event in subscriber.events if event["type"] == "vedette.part.verdict"]


def test_each_part_of_a_recording_gets_its_verdict(daemon_process, line_images, mosquitto, subscribe, wait_until):
    subscriber = subscribe(mosquitto.port)
    wait_until(subscriber.subscribed.is_set, "the subscription")
    configure(
        daemon_process, f"file:{line_images}?fps=0", f"mqtt://127.0.0.1:{mosquitto.port}", "deadline = 30.0\ndepth = 64"
    )
    write_triggers(daemon_process, 30)
    process = daemon_process.start()
    assert process.wait(120) == 0, daemon_process.log()
    wait_until(lambda: len(verdicts_of(subscriber)) == 30, "a verdict for each part")

    verdicts = verdicts_of(subscriber)
    assert [each["part"] for each in verdicts] == [str(number) for number in range(1, 31)]
    assert [each["serial"] for each in verdicts] == [f"S-{number:04d}" for number in range(1, 31)]
    assert [each["verdict"] for each in verdicts] == ["accept", "accept", "reject"] * 10
    assert {each["product"] for each in verdicts} == {"weave"}
    assert all(each["triggered"] <= each["exposed"] <= each["decided"] for each in verdicts)
    assert daemon_process.waiting() == 0


def test_part_without_a_verdict_in_time_is_an_error(daemon_process, line_images, mosquitto, subscribe, wait_until):
    """All triggers at once, and less time than one inference takes."""
    subscriber = subscribe(mosquitto.port)
    wait_until(subscriber.subscribed.is_set, "the subscription")
    url = f"mqtt://127.0.0.1:{mosquitto.port}"
    configure(daemon_process, f"file:{line_images}?fps=0", url, "deadline = 0.0005\ndepth = 4")
    write_triggers(daemon_process, 10, every=0.0)
    process = daemon_process.start()
    assert process.wait(120) == 0, daemon_process.log()
    wait_until(lambda: len(verdicts_of(subscriber)) == 10, "a verdict for each part")
    assert {each["verdict"] for each in verdicts_of(subscriber)} == {"error"}
    assert {each["reason"] for each in verdicts_of(subscriber)} <= {"late", "not_ready"}


@pytest.mark.slow
@pytest.mark.skipif(not VIDEOS.exists(), reason="needs the recordings of shared/data")
def test_parts_that_enter_a_zone_of_a_real_recording(daemon_process, mosquitto, subscribe, wait_until):
    """Two cars come in the left lane; each is one part, whose picture is the frame in which it reached the zone."""
    subscriber = subscribe(mosquitto.port)
    wait_until(subscriber.subscribed.is_set, "the subscription")
    zone = "[trigger.presence]\npolygon = [[0.1, 0.45], [0.35, 0.45], [0.35, 0.55], [0.1, 0.55]]"
    url, keys = f"mqtt://127.0.0.1:{mosquitto.port}", 'source = "presence"\ndeadline = 30.0'
    configure(daemon_process, f"file:{VIDEOS}/car-detection.mp4?fps=0", url, zone, keys)
    assert daemon_process.start().wait(300) == 0, daemon_process.log()
    wait_until(lambda: len(verdicts_of(subscriber)) == 2, "a verdict for each car")
    verdicts = verdicts_of(subscriber)
    assert [each["part"] for each in verdicts] == ["1", "2"]
    assert {each["verdict"] for each in verdicts} <= {"accept", "reject"}
    assert all(each["exposed"] for each in verdicts)


@pytest.mark.slow
@pytest.mark.parametrize("settled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_killed_daemon_loses_and_doubles_no_part(
    daemon_process, line_images, mosquitto, subscribe, wait_until, settled
):
    """Killed in the middle of parts; parts in flight are errors after the restart, and numbers go on."""
    subscriber = subscribe(mosquitto.port)
    wait_until(subscriber.subscribed.is_set, "the subscription")
    url = f"mqtt://127.0.0.1:{mosquitto.port}"
    configure(daemon_process, f"file:{line_images}?fps=0&loop=true", url, "deadline = 30.0\ndepth = 200")
    write_triggers(daemon_process, 120, every=0.0 if not settled else 0.01)
    process = daemon_process.start()
    wait_until(lambda: len(verdicts_of(subscriber)) >= 5, "the first verdicts")
    process.send_signal(signal.SIGKILL)
    process.wait()
    write_triggers(daemon_process, 5, every=0.05)
    assert daemon_process.start().wait(120) == 0, daemon_process.log()
    journal = (daemon_process.folder / "state" / "door" / "parts.jsonl").read_bytes()
    triggered = journal.count(b'"triggered"') - journal.count(b'"verdict"')
    total = triggered + journal.count(b'"verdict"')
    assert total >= 10

    def identities():
        return {event["id"]: event["data"] for event in subscriber.events if event["type"] == "vedette.part.verdict"}

    def parts():
        return sorted(int(each["part"]) for each in identities().values())

    wait_until(lambda: parts() and parts()[-1] == len(parts()) and len(parts()) >= 10, "a verdict for each part")
    assert parts() == list(range(1, len(parts()) + 1))
    restarted = [each for each in identities().values() if each["reason"] == "restart"]
    assert all(each["verdict"] == "error" for each in restarted)
    if not settled:
        assert restarted, "none was in flight"


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ('source = "nothing:"', "known values: file"),
        ('source = "file:none.txt"', "No such file"),
        ('source = "file:triggers.txt"\ndelay = 2.0', "delay: 2 is not below the deadline of 1"),
        ('source = "file:triggers.txt"\nwarn = 1e6', "trigger.warn: 1e+06 is above the threshold"),
        ('source = "file:triggers.txt"\nwarm = 1', "known keys"),
    ],
)
def test_wrong_trigger_is_told(daemon_process, line_images, call_vedette, trigger, message):
    configure(daemon_process, f"file:{line_images}?fps=0", "stdout:", keys=trigger)
    write_triggers(daemon_process, 1)
    done = call_vedette("run", "door", "--config", daemon_process.folder)
    assert done.returncode == 2
    assert message in done.stderr
