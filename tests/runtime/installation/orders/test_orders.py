"""Signed orders: who may give them, to whom, how often, and what becomes of them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from vedette.runtime.bundle.key_rules import Revocation
from vedette.runtime.bundle.keys import Keyring, KeyRule, key_id
from vedette.runtime.bundle.signed_order import OrderRefused, matches
from vedette.runtime.errors import BundleProblem, ConfigProblem, MachineProblem
from vedette.runtime.events.sinks import Command
from vedette.runtime.installation.model_store import ModelStore
from vedette.runtime.installation.orders import bundle_pieces, order_memory
from vedette.runtime.installation.orders.bundle_pieces import PIECE_BYTES, PieceReceiver, encode_piece
from vedette.runtime.installation.orders.order import make_order, open_order, sign_order
from vedette.runtime.installation.orders.order_handler import OrderHandler
from vedette.runtime.installation.orders.order_memory import KnownOrder, OrderMemory

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
SIGNER = key_id(KEY.public_key())
KEYRING = Keyring({SIGNER: KEY.public_key()})
PLACE = "plant/hall/line1/box7"
NOW = 2_000_000_000


def order(**changes):
    values = {
        "action": "install",
        "to": (PLACE,),
        "product": "cells",
        "release": 2,
        "issued": NOW,
        "expires": NOW + 3600,
        "sha256": "a" * 64,
        "bytes": 1000,
        "source": "mqtt",
    } | changes
    return make_order(**values)


class Clock:
    boot = ""

    def __init__(self, quality="synced"):
        self.quality = quality

    def wall_time(self):
        return float(NOW + 10)

    def time_quality(self):
        return self.quality


class Box:
    """A handler whose installations are made up; `fault` makes them fail."""

    def __init__(self, folder: Path, quality="synced", place=PLACE, keyring=KEYRING):
        self.release, self.executed, self.fault = 1, [], None
        self.reports, self.events = [], []
        self.handler = OrderHandler(
            place,
            lambda: keyring,
            OrderMemory(folder),
            self,
            Clock(quality),
            lambda _, report: self.reports.append(report),
            lambda kind, facts: self.events.append((kind, facts)),
        )

    def check(self, order):
        if order.product != "cells":
            raise OrderRefused("no camera runs it")

    def current(self, product):
        return self.release

    def execute(self, order, lock, report):
        self.executed.append(order.nonce)
        report("installing", [])
        if self.fault:
            raise self.fault
        self.release = order.release if order.action == "install" else 1
        return "done"

    def give(self, order, key=KEY):
        self.handler.handle(Command(sign_order(order, key), "res"))
        return self.reports[-1]


def test_an_order_is_obeyed_once_and_answered_again(tmp_path):
    box, given_order = Box(tmp_path), order()
    assert box.give(given_order).state == "installed"
    assert [report.state for report in box.reports] == ["accepted", "installing", "installed"]
    assert [kind for kind, _ in box.events] == ["accepted", "installed"]
    restarted = Box(tmp_path)
    again = restarted.give(given_order)
    assert (again.state, again.known, restarted.executed) == ("installed", True, [])


def test_a_failure_is_told_and_not_tried_again(tmp_path):
    box, given_order = Box(tmp_path), order()
    box.fault = MachineProblem("the disk is full")
    assert (box.give(given_order).state, box.reports[-1].detail, box.release) == ("failed", "the disk is full", 1)
    box.fault = None
    assert (box.give(given_order).state, len(box.executed)) == ("failed", 1)


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({}, Ed25519PrivateKey.from_private_bytes(b"x" * 32), "unknown key"),
        ({"to": ("plant/hall/line1/box8",)}, KEY, "not for"),
        ({"issued": NOW - 7200, "expires": NOW - 3600}, KEY, "expired"),
        ({"issued": NOW + 90_000, "expires": NOW + 90_100}, KEY, "future"),
        ({"expires": NOW + 31 * 86400}, KEY, "within 30 days"),
        ({"product": "tiles"}, KEY, "no camera"),
        ({"source": ""}, KEY, "needs"),
    ],
)
def test_what_a_box_refuses_changes_nothing(tmp_path, changes, key, reason):
    box = Box(tmp_path)
    report = box.give(order(**changes), key)
    assert (report.state, box.executed, box.events) == ("refused", [], [])
    assert reason in report.detail


def test_a_group_is_a_pattern_of_places(tmp_path):
    assert Box(tmp_path).give(order(to=("plant/hall/*/*",))).state == "installed"
    assert not matches("plant/*/line2/*", PLACE)
    assert not matches("*/*/*", PLACE)


def test_a_key_is_held_to_its_products_and_to_revocations(tmp_path):
    limited = Keyring(KEYRING.keys, rules={SIGNER: KeyRule(tmp_path / "a.pub", ("tiles",))})
    assert "may sign tiles" in Box(tmp_path, keyring=limited).give(order()).detail
    revoked = Keyring(KEYRING.keys, revoked={SIGNER: Revocation(SIGNER, "", "stolen")})
    assert "revoked (stolen)" in Box(tmp_path, keyring=revoked).give(order()).detail


def test_a_signature_without_the_domain_is_none(tmp_path):
    """What somebody had signed as a bundle's manifest is no order."""
    signed = json.loads(sign_order(order(), KEY))
    signed["signature"] = base64.b64encode(KEY.sign(signed["order"].encode())).decode()
    with pytest.raises(OrderRefused, match="does not match the order"):
        open_order(json.dumps(signed).encode(), KEYRING, PLACE)


def test_forgotten_orders_do_not_come_back_without_a_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(order_memory, "MAX_ORDERS", 3)
    box = Box(tmp_path, quality="unknown")
    orders = [order(issued=NOW - 10_000 + number, expires=NOW - 5_000) for number in range(5)]
    assert [box.give(each).state for each in orders] == ["installed"] * 5, "no clock: nothing expires"
    assert box.reports[-1].clock == "unknown"
    assert [box.give(each).state for each in orders] == ["refused", "refused", *["installed"] * 3]
    assert len(box.executed) == 5


def test_a_later_order_proves_that_an_earlier_one_has_expired(tmp_path):
    """A broker kept an order back: it is worth nothing after a later one, even where no clock is synchronized."""
    box = Box(tmp_path, quality="unknown")
    assert box.give(order(issued=NOW + 7200, expires=NOW + 9000)).state == "installed"
    assert "expired before another order" in box.give(order(action="rollback")).detail


def test_an_order_that_was_cut_off_is_judged_by_the_release(tmp_path):
    cases = ((2, "install", "installed"), (1, "install", "failed"), (1, "rollback", "rolled back"))
    for release, action, outcome in cases:
        box = Box(tmp_path)
        box.release, given_order = release, order(action=action)
        with box.handler.memory.lock() as lock:
            assert lock is not None
            box.handler.memory.claim(KnownOrder(given_order, "res", b""), None)
            box.handler.recover()
            assert box.reports == [], "a child process still holds the lock"
        box.handler.recover()
        assert (box.reports[-1].state, box.handler.memory.unfinished()) == (outcome, [])


def test_a_box_obeys_one_order_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("vedette.runtime.installation.orders.order_handler.LOCK_SECONDS", 0.0)
    box = Box(tmp_path)
    with box.handler.memory.lock():
        assert box.give(order()).state == "refused"
    assert box.give(order()).state == "installed"


def test_two_daemons_of_a_box_obey_an_order_once(tmp_path):
    """Both get it at the same time; one obeys it, the other answers how far it is."""
    boxes, given_order, started = [Box(tmp_path), Box(tmp_path)], order(), threading.Barrier(2)

    def give(box):
        started.wait()
        box.give(given_order)

    threads = [threading.Thread(target=give, args=(box,)) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(box.executed) for box in boxes) == [0, 1]
    obeyed, told = sorted(boxes, key=lambda box: len(box.executed), reverse=True)
    assert obeyed.reports[-1].state == "installed"
    assert told.reports[-1].state in ("accepted", "installed")


def test_a_damaged_memory_refuses_what_was_issued_before(tmp_path):
    box = Box(tmp_path, quality="unknown")
    box.give(order())
    box.handler.memory.path.write_bytes(b"\xff damaged")
    past = int(time.time()) - 100
    assert box.give(order(issued=past, expires=past + 50)).state == "refused"


def test_a_damaged_memory_is_told_once_and_does_not_refuse_later_orders(tmp_path, monkeypatch, caplog):
    box = Box(tmp_path, quality="unknown")
    box.give(order())
    box.handler.memory.path.write_bytes(b"\xff damaged")
    found = int(time.time())
    for _ in range(3):  # as the daemon does every few seconds
        box.handler.recover()
    assert box.give(order(issued=found, expires=found + 1000)).state == "refused"
    monkeypatch.setattr(order_memory.time, "time", lambda: found + 100.0)
    assert box.give(order(issued=found, expires=found + 1000)).state == "refused"
    assert box.give(order(issued=found + 50, expires=found + 1000)).state == "installed"
    assert [each.message for each in caplog.records if "not readable" in each.message][1:] == []


def test_an_order_out_of_bounds_is_not_made():
    with pytest.raises(ConfigProblem):
        order(source="http://host/bundle")
    with pytest.raises(ConfigProblem):
        order(to=("plant/#",))


_VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40), st.lists(st.text()))


@given(
    payload=st.one_of(
        st.binary(max_size=300),
        st.just(b"[" * 20_000),
        st.just(b'{"order":"\xff","key":"","signature":""}'),
        st.dictionaries(st.sampled_from(["order", "key", "signature", "x"]), _VALUES).map(
            lambda each: json.dumps(each).encode()
        ),
        st.dictionaries(st.sampled_from([*msgspec.structs.asdict(order()), "x"]), _VALUES).map(
            lambda each: _signed_text(json.dumps(msgspec.to_builtins(order()) | each))
        ),
    )
)
def test_no_payload_raises(payload, tmp_path_factory):
    box = Box(tmp_path_factory.getbasetemp() / "payloads")
    assert box.handler.handle(Command(payload)) in (True, False)


def _signed_text(text):
    signature = base64.b64encode(KEY.sign(b"vedette order v1\n" + text.encode())).decode()
    return json.dumps({"order": text, "key": SIGNER, "signature": signature}).encode()


def test_pieces_become_the_bundle_however_they_arrive(tmp_path):
    content = bytes(range(256)) * 1400
    wanted = order(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    receiver, asked = PieceReceiver(), []

    def send(numbers):
        asked.append(numbers)
        receiver.take(b"x" * 300)
        receiver.take(encode_piece("0" * 32, numbers[0], b"of another order"))
        for number in reversed(numbers[len(asked) == 1 :]):  # the first is lost once
            receiver.take(encode_piece(wanted.nonce, number, content[number * PIECE_BYTES :][:PIECE_BYTES]))

    receiver.take(encode_piece(wanted.nonce, 0, b"nobody asked"))
    assert receiver.arrived.empty()
    bundle_pieces.WAIT_SECONDS, before = 0.05, bundle_pieces.WAIT_SECONDS
    try:
        receiver.fetch(wanted, tmp_path / "bundle", send)
        assert (tmp_path / "bundle").read_bytes() == content
        content = bytes(len(content))
        with pytest.raises(BundleProblem, match="another digest"):
            receiver.fetch(wanted, tmp_path / "bundle", send)
        with pytest.raises(MachineProblem, match="nobody sends"):
            receiver.fetch(wanted, tmp_path / "bundle", lambda _: None)
    finally:
        bundle_pieces.WAIT_SECONDS = before


def test_an_order_that_is_killed_anywhere_ends_in_one_release_and_is_told(tmp_path):
    """A process is killed while it obeys; the next one finds the outcome, which is that of the release that runs."""

    class StoredBox(Box):
        def __init__(self, folder):
            super().__init__(folder)
            self.store = ModelStore(folder)

        def current(self, product):
            return self.store.find_model(product).current

        def execute(self, order, lock, report):
            self.store.add("cells", order.release, b"two" * 1000)
            self.store.switch("cells", order.release)
            return ""

    ends, whole = [], 0.0
    for number in range(12):
        folder = tmp_path / str(number)
        first, given_order = StoredBox(folder), order()
        first.store.add("cells", 1, b"one")
        first.store.switch("cells", 1)
        if not (process := os.fork()):
            first.handler.handle(Command(sign_order(given_order, KEY), "res"))
            os._exit(0)
        started = time.monotonic()
        if number:  # the first one tells how long it takes
            time.sleep(whole * number / 10)
            os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        whole = whole or time.monotonic() - started
        second = StoredBox(folder)
        second.handler.recover()
        known = second.handler.memory.find(given_order.nonce)
        ends.append(known.outcome if known else "never taken")
        assert second.current("cells") == (2 if ends[-1] == "installed" else 1)
        report = second.give(given_order)
        assert (report.state, report.current) == (("failed", 1) if ends[-1] == "failed" else ("installed", 2))
    assert ends[0] == "installed"
