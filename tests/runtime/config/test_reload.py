"""SIGHUP: rules are read anew between two frames, and a wrong file changes nothing."""

from __future__ import annotations

import signal

import pytest

RULE = '[[rules]]\nuse = "presence"\nhysteresis = 0.0\n'
NEVER = "threshold = 1e9\n"


@pytest.fixture
def running(device, line, eventually):
    device.configure(f"file:{line}?fps=30&loop=true", "mqtt://127.0.0.1:1")
    rules(device, "[tracker]\nconfirm = 1\n" + RULE)
    process = device.start()
    eventually(lambda: device.recorded() >= 2, "the daemon to run")
    return device, process


def rules(device, text):
    path = device.folder / "cameras" / "door.toml"
    head, _, _ = path.read_text().partition("[[rules]]")  # what stands before them stays
    path.write_text(head + text)


def reloaded(device, process, eventually, word):
    before = device.log().count(word)
    process.send_signal(signal.SIGHUP)
    eventually(lambda: device.log().count(word) > before, word)


def test_rules_are_read_anew_and_no_frame_is_lost(running, eventually):
    device, process = running
    rules(device, RULE + NEVER)
    reloaded(device, process, eventually, "reloaded: 1 rules")
    quiet = device.recorded()
    rules(device, RULE.replace("\nhyst", '\nname = "other"\nhyst'))
    eventually(lambda: device.recorded() == quiet, "nothing to be seen")
    reloaded(device, process, eventually, "reloaded: 1 rules")
    eventually(lambda: device.recorded() > quiet + 2, "events of the new rule")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, device.log()
    assert f"event {quiet + 1}: other new" in device.log()


def test_a_wrong_file_leaves_all_as_it_was(running, eventually):
    device, process = running
    rules(device, '[[rules]]\nuse = "presense"\n')
    reloaded(device, process, eventually, "not reloaded, the rules stay as they were")
    assert "presense" in device.log()
    recorded = device.recorded()
    eventually(lambda: device.recorded() > recorded + 2, "events of the old rule")
    assert process.poll() is None


def test_an_unchanged_rule_keeps_its_open_event(running, eventually):
    """A rule that is always open: its event is the same before and after, and a second rule comes beside it."""
    device, process = running
    always = '[[rules]]\nuse = "presence"\nname = "always"\nthreshold = -1.0\nupdate = 0\n'
    rules(device, RULE + NEVER + always)
    reloaded(device, process, eventually, "reloaded: 2 rules")
    eventually(lambda: "always new" in device.log(), "its event")
    rules(device, always + RULE + NEVER + "debounce = 2\n")
    reloaded(device, process, eventually, "reloaded: 2 rules")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert device.log().count("always new") == 1
    assert device.log().count("always end") == 1


def test_a_rule_that_follows_things_may_come_later(running, eventually):
    """The tracker begins when the first rule needs it, with the settings that the camera's file had at the start."""
    device, process = running
    rules(device, f'{RULE}[[rules]]\nuse = "zone"\npolygon = [[0, 0], [2, 0], [1, 1]]\n')
    reloaded(device, process, eventually, "not reloaded, the rules stay as they were")
    assert "polygon[1]: [2, 0] is outside the picture" in device.log()
    rules(device, f'{RULE}[[rules]]\nuse = "zone"\npolygon = [[0, 0], [1, 0], [1, 1], [0, 1]]\ninertia = 0\n')
    reloaded(device, process, eventually, "reloaded: 2 rules")
    eventually(lambda: "zone new" in device.log(), "a thing that is followed")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, device.log()
    assert device.log().count("zone new") == device.log().count("zone end")
