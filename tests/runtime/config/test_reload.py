"""SIGHUP reloads the rules between two frames; an invalid file changes nothing."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

RULE = '[[rules]]\nuse = "presence"\nhysteresis = 0.0\n'
NEVER = "threshold = 1e9\n"


@pytest.fixture
def running(daemon_process, line_images, wait_until):
    daemon_process.configure(f"file:{line_images}?fps=30&loop=true", "mqtt://127.0.0.1:1")
    daemon_process.set_rules("[tracker]\nconfirm = 1\n" + RULE)
    process = daemon_process.start()
    wait_until(lambda: daemon_process.recorded() >= 2, "the daemon to run")
    return daemon_process, process


def reload(device, process, wait_until, log_line):
    before = device.log().count(log_line)
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: device.log().count(log_line) > before, log_line)


def test_reload_applies_new_rules_without_losing_frames(running, wait_until):
    device, process = running
    device.set_rules(RULE + NEVER)
    reload(device, process, wait_until, "reloaded: 1 rules")
    quiet = device.recorded()
    device.set_rules(RULE.replace("\nhyst", '\nname = "other"\nhyst'))
    wait_until(lambda: device.recorded() == quiet, "no event of the disabled rule")
    reload(device, process, wait_until, "reloaded: 1 rules")
    wait_until(lambda: device.recorded() > quiet + 2, "events of the new rule")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, device.log()
    assert f"event {quiet + 1}: other new" in device.log()


def test_invalid_file_keeps_old_rules_active(running, wait_until):
    device, process = running
    device.set_rules('[[rules]]\nuse = "presense"\n')
    reload(device, process, wait_until, "not reloaded, the rules stay as they were")
    assert "presense" in device.log()
    recorded = device.recorded()
    wait_until(lambda: device.recorded() > recorded + 2, "events of the old rule")
    assert process.poll() is None


def test_unchanged_rule_keeps_its_open_event_on_reload(running, wait_until):
    """An open event continues across a reload that adds a second rule."""
    device, process = running
    always = '[[rules]]\nuse = "presence"\nname = "always"\nthreshold = -1.0\nupdate = 0\n'
    device.set_rules(RULE + NEVER + always)
    reload(device, process, wait_until, "reloaded: 2 rules")
    wait_until(lambda: "always new" in device.log(), "its open event")
    device.set_rules(always + RULE + NEVER + "debounce = 2\n")
    reload(device, process, wait_until, "reloaded: 2 rules")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert device.log().count("always new") == 1
    assert device.log().count("always end") == 1


def test_tracker_starts_when_a_reloaded_rule_needs_tracks(running, wait_until):
    """The tracker starts with the first rule that needs tracks, with the settings from the start of the daemon."""
    device, process = running
    device.set_rules(f'{RULE}[[rules]]\nuse = "zone"\npolygon = [[0, 0], [2, 0], [1, 1]]\n')
    reload(device, process, wait_until, "not reloaded, the rules stay as they were")
    assert "polygon[1]: [2, 0] is outside the picture" in device.log()
    device.set_rules(f'{RULE}[[rules]]\nuse = "zone"\npolygon = [[0, 0], [1, 0], [1, 1], [0, 1]]\ninertia = 0\n')
    reload(device, process, wait_until, "reloaded: 2 rules")
    wait_until(lambda: "zone new" in device.log(), "an event with a track")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, device.log()
    assert device.log().count("zone new") == device.log().count("zone end")


def test_request_to_reload_while_starting_waits(daemon_process, line_images, wait_until):
    """SIGHUP ends nothing from the start of the command on; the rules are read again once the daemon runs."""
    daemon_process.configure(f"file:{line_images}?fps=30&loop=true", "mqtt://127.0.0.1:1")
    process = daemon_process.start()
    status = Path(f"/proc/{process.pid}/status")

    def blocks_signal():
        masks = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(masks["SigBlk"], 16) == 1 << (signal.SIGHUP - 1)  # alone: a start of a thread blocks all for a while

    wait_until(blocks_signal, "the command to take over")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded: 1 rules" in daemon_process.log(), "the reload after the start")
    assert process.poll() is None
    reload(daemon_process, process, wait_until, "reloaded: 1 rules")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, daemon_process.log()


def test_reload_tells_of_another_bundle(daemon_process, class_build, line_images, wait_until, tmp_path):
    path = tmp_path / "replaced.vedette"
    shutil.copy(daemon_process.bundle, path)
    daemon_process.bundle = path
    daemon_process.configure(f"file:{line_images}?fps=30&loop=true", "mqtt://127.0.0.1:1")
    process = daemon_process.start()
    wait_until(lambda: daemon_process.recorded() >= 1, "the daemon to run")
    reload(daemon_process, process, wait_until, "reloaded: 1 rules")
    assert "next start" not in daemon_process.log()
    shutil.copy(class_build.bundle, path)
    reload(daemon_process, process, wait_until, "reloaded: 1 rules")
    assert "it takes effect at the next start" in daemon_process.log()
    path.write_bytes(b"no bundle")
    reload(daemon_process, process, wait_until, "the next start will fail")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, daemon_process.log()
