"""What boxes say, true or not, and the sizes of rings."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.deploy.fleet.fleet_listing import make_rows, render_csv, render_table
from vedette.deploy.fleet.inventory import Inventory
from vedette.deploy.fleet.rings import allowed_failures, read_size, split_rings
from vedette.runtime.errors import ConfigProblem

ROOT = "vedette/v1/plant/hall/line1/box7"


@given(payload=st.binary(max_size=80), level=st.sampled_from(["info", "availability", "stats", "evt"]))
def test_no_message_raises(payload, level):
    inventory = Inventory("vedette")
    inventory.take(f"{ROOT}/{level}/door", payload, False)
    render_table(make_rows(inventory.find()))


@given(
    body=st.dictionaries(
        st.sampled_from(["model", "products", "events", "uptime_seconds", "latency_ms", "faults", "instance"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=6,
        ),
    )
)
def test_no_values_raise(body):
    inventory = Inventory("vedette")
    for level in ("info", "stats"):
        inventory.take(f"{ROOT}/{level}/door", json.dumps(body).encode(), True)
    render_csv(make_rows(inventory.find()))


def test_what_is_shown_is_safe_for_terminals_and_spreadsheets():
    inventory = Inventory("vedette")
    info = {"model": "=cmd()", "runtime": "\x1b[2J1.0", "products": {"a\x1bb": {"current": 1}, "cells": {"current": 2}}}
    inventory.take(f"{ROOT}/info/door", json.dumps(info).encode(), True)
    inventory.take("vedette/v1/plant/hall/line1/b\x1b/info/door", b"{}", True)
    rows = make_rows(inventory.find())
    assert [(row.place, row.product, row.current) for row in rows] == [("plant/hall/line1/box7", "cells", 2)]
    text = render_csv(rows)
    assert "'=cmd()" in text
    assert "\x1b" not in text


def test_a_box_is_partly_online_if_one_camera_is_not():
    inventory = Inventory("vedette")
    for camera, state in (("door", b"online"), ("yard", b"offline")):
        inventory.take(f"{ROOT}/availability/{camera}", state, True)
    (box,) = inventory.find(("plant/*/*/box7",))
    assert (box.state, box.cameras["yard"].losses) == ("partly online", 0)
    inventory.take(f"{ROOT}/availability/door", b"offline", False)
    assert (box.state, box.cameras["door"].losses) == ("offline", 1)


def test_rings_are_shares_or_numbers_and_mix_the_lines():
    places = [f"a/b/line{number % 3}/box{number}" for number in range(100)]
    rings = split_rings(places, "5%,25,100%", "x")
    assert [len(ring) for ring in rings] == [5, 20, 75]
    assert sorted(place for ring in rings for place in ring) == sorted(places)
    assert split_rings(places, "5%,25,100%", "x") == rings != split_rings(places, "5%,25,100%", "y")
    assert [len(ring) for ring in split_rings(places[:2], "5%,25%,100%", "x")] == [1, 1]
    for wrong in ("50%,5%", "0,5", "x", "1.5", ""):
        with pytest.raises(ConfigProblem):
            split_rings(places, wrong, "x")


def test_one_box_or_two_percent_may_fail():
    assert [allowed_failures("2%", ring) for ring in (1, 50, 200, 1000)] == [1, 1, 4, 20]
    assert (allowed_failures("0", 50), allowed_failures("3", 50), read_size("0.5%", 1000)) == (0, 3, 5)
