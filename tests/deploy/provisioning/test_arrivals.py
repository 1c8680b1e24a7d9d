"""A box has come up if it is there now: not by what an earlier life of it left at the broker."""

from __future__ import annotations

import pytest

from vedette.deploy.provisioning.arrivals import MAX_CAMERAS, Arrivals
from vedette.deploy.provisioning.fleet_table import Box

INFO = b'{"model":"cells:3:0f9c2ab1","runtime":"0.1.0"}'
PLACE = "p/q/v1/site/area/line/box1"


@pytest.fixture
def arrivals() -> Arrivals:
    return Arrivals((Box("box1"), Box("box2")), "p/q", {"box1": "i1"})


def test_a_connected_box_comes_up_once(arrivals: Arrivals) -> None:
    assert arrivals.take(f"{PLACE}/info/door", INFO) == ""
    line = arrivals.take(f"{PLACE}/availability/door", b"online")
    assert line == "came up   site/area/line/box1  vedette 0.1.0  cells release 3  (1 of 2)"
    assert arrivals.take(f"{PLACE}/info/door", INFO) == ""
    assert "cells release 4" in arrivals.take(f"{PLACE}/info/belt", INFO.replace(b":3:", b":4:"))
    assert arrivals.waiting == ["site/area/line/box2"]


@pytest.mark.parametrize("payload", [b"offline", b"stopped", b""])
def test_a_message_of_a_box_that_is_gone_does_not_count(arrivals: Arrivals, payload: bytes) -> None:
    arrivals.take(f"{PLACE}/availability/door", payload)
    assert arrivals.take(f"{PLACE}/info/door", INFO) == ""
    assert "box1  (gone" in arrivals.table()


def test_the_instance_decides_where_a_box_names_it(arrivals: Arrivals) -> None:
    arrivals.take(f"{PLACE}/availability/door", b"online")
    arrivals.take(f"{PLACE}/info/setup", b'{"instance":"i0"}')
    assert len(arrivals.waiting) == 2
    assert "came up" in arrivals.take(f"{PLACE}/info/setup", b'{"instance":"i1"}')


@pytest.mark.parametrize("payload", [b"\xff", b"[1]", b'{"model":{},"runtime":["x"]}', b'{"runtime":"\\u001b[2J"}'])
def test_nonsense_is_shown_without_control_characters(arrivals: Arrivals, payload: bytes) -> None:
    arrivals.take(f"{PLACE}/availability/door", b"online")
    arrivals.take(f"{PLACE}/info/door", payload)
    assert arrivals.table().replace("\n", "").isprintable()


def test_other_topics_and_other_boxes(arrivals: Arrivals) -> None:
    assert arrivals.take("p/q/v1/site/area/line/box1/stats/door", INFO) == ""
    assert arrivals.take("other/v1/x", INFO) == ""
    other = "p/q/v1/site/area/other/box2"
    arrivals.take(f"{other}/availability/door", b"online")
    assert arrivals.take(f"{other}/info/door", INFO).startswith("unknown   site/area/other/box2")
    assert len(arrivals.waiting) == 2


@pytest.mark.parametrize(
    "payload", [b'{"model":"\xff"}', b'{"x":' + b"[" * 100_000, b"[]", b'{"model":1e999}', b"\xff"]
)
def test_no_message_ends_the_watch(arrivals: Arrivals, payload: bytes) -> None:
    assert arrivals.take(f"{PLACE}/info/door", payload) == ""
    arrivals.take(f"{PLACE}/info/door", INFO)
    assert "came up" in arrivals.take(f"{PLACE}/availability/door", b"online")


@pytest.mark.parametrize("place", ["s/a/l/\x1b[2Jx", "s/a/\u202e/x", "s/a//x", "s/a/l/x\ny"])
def test_names_that_change_a_terminal_are_ignored(arrivals: Arrivals, place: str) -> None:
    arrivals.take(f"p/q/v1/{place}/info/door", INFO)
    assert arrivals.take(f"p/q/v1/{place}/availability/door", b"online") == ""
    assert "\x1b" not in arrivals.table()
    assert "unknown" not in arrivals.table()


def test_what_strangers_say_takes_bounded_memory(arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vedette.deploy.provisioning.arrivals.MAX_BOXES", 20)
    for number in range(200):
        arrivals.take(f"p/q/v1/s/a/l/stranger{number}/info/door", INFO)
        arrivals.take(f"{PLACE}/info/door", INFO.replace(b":3:", b":%d:" % number))
        arrivals.take(f"{PLACE}/availability/door{number}", b"online")
    assert len(arrivals.heard) < 60
    assert len(arrivals.heard["site/area/line/box1"].bundles) <= MAX_CAMERAS
    assert len(arrivals.online["site/area/line/box1"]) <= MAX_CAMERAS
    assert arrivals.waiting == ["site/area/line/box2"]
