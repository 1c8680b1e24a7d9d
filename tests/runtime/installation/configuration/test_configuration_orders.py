"""Signed orders for a camera's file: who may give them, how often, and what becomes of them."""

from __future__ import annotations

import json
import os
import tomllib

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from vedette.runtime.bundle.key_rules import Revocation
from vedette.runtime.bundle.keys import Keyring, KeyRule, key_id
from vedette.runtime.bundle.signed_order import OrderRefused, sign_text
from vedette.runtime.config.configuration import load_config
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.events.sinks import Command
from vedette.runtime.installation.camera_bundle import last_good_file
from vedette.runtime.installation.configuration import configuration_handler
from vedette.runtime.installation.configuration.change_requests import (
    ConfigurationResult,
    request_change,
    requests_folder,
    results_folder,
)
from vedette.runtime.installation.configuration.configuration_handler import ConfigurationHandler
from vedette.runtime.installation.configuration.configuration_order import (
    DOMAIN,
    make_configuration_order,
    open_configuration_order,
    sign_configuration_order,
)
from vedette.runtime.installation.configuration.permitted_changes import merge
from vedette.runtime.installation.configuration.result_events import ResultEvents
from vedette.runtime.installation.orders.order import DOMAIN as INSTALL_DOMAIN
from vedette.runtime.installation.orders.order import make_order, open_order, sign_order

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
SIGNER = key_id(KEY.public_key())
KEYRING = Keyring({SIGNER: KEY.public_key()})
PLACE = "plant/hall/line1/box7"
NOW = 2_000_000_000
CAMERA = '# the door\nsource = "file:none"  # here\nbundle = "installed:cells"\n[[rules]]\nuse = "presence"\n'
PART = '[[rules]]\nuse = "presence"\ndebounce = 3\n'


def order(action="configure", camera="door", **changes):
    values = {"to": (PLACE,), "issued": NOW, "expires": NOW + 3600}
    values |= {"part": PART} if action == "configure" else {}
    return make_configuration_order(action, camera=camera, **values | changes)


class Clock:
    boot = ""

    def wall_time(self):
        return float(NOW + 10)

    def time_quality(self):
        return "synced"


class Box:
    """A handler, and in place of the program of root a method that applies what waits."""

    def __init__(self, folder, keyring=KEYRING):
        (folder / "cameras").mkdir(parents=True, exist_ok=True)
        (folder / "state").mkdir(exist_ok=True)
        (folder / "vedette.toml").write_text("")
        self.file = folder / "cameras" / "door.toml"
        if not self.file.exists():
            self.file.write_text(CAMERA)
        self.settings = load_config(folder, "door")
        self.reports, self.keyring = [], keyring
        self.start()

    def start(self):
        """As the daemon does at its start."""
        self.handler = ConfigurationHandler(
            PLACE,
            self.settings,
            "cells",
            lambda: self.keyring,
            Clock(),
            lambda _, report: self.reports.append(report),
            lambda *arguments, **more: request_change(*arguments, **more | {"folder": None}),
        )

    def give(self, given, key=KEY):
        return self.send(sign_configuration_order(given, key))

    def send(self, payload):
        self.handler.handle(Command(payload, "res"))
        return self.reports[-1] if self.reports else None

    def waiting(self):
        return sorted(requests_folder(self.settings.state).glob("*.json"))

    def apply(self, outcome="applied", reason=""):
        for path in self.waiting():
            if outcome == "applied":
                last_good_file(self.file).write_bytes(self.file.read_bytes())
                self.file.write_bytes(path.with_suffix(".toml").read_bytes())
            result = ConfigurationResult(path.stem, "door", outcome, reason, "fleet", SIGNER)
            (results_folder(self.settings.state) / path.name).write_bytes(msgspec.json.encode(result))
            path.unlink()
        self.start()
        self.handler.recover()
        return self.reports[-1]


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path / "box")


def test_an_order_becomes_a_request_and_its_result_the_answer_of_the_next_daemon(box):
    given_order = order()
    assert box.give(given_order).state == "accepted"
    box.handler.recover()
    assert [report.state for report in box.reports] == ["accepted"], "it waits"
    (path,) = box.waiting()
    request = json.loads(path.read_bytes())
    assert (request["id"], request["camera"], request["origin"], request["by"]) == (
        given_order.nonce,
        "door",
        "fleet",
        SIGNER,
    )
    report = box.apply()
    assert (report.state, report.camera) == ("applied", "door")
    assert box.file.read_text() == CAMERA.replace('use = "presence"\n', 'use = "presence"\ndebounce = 3\n')
    again = box.give(given_order)
    assert (again.state, again.known, box.waiting()) == ("applied", True, [])


def test_a_rollback_takes_back_exactly_what_its_order_changed(box):
    first, back = order(), None
    box.give(first)
    back = order("rollback", undo=first.nonce)
    assert "send it again" in box.give(back).detail, "the change is not finished"
    box.apply()
    box.give(back)
    assert box.apply().state == "rolled back"
    assert box.file.read_text() == CAMERA
    second = order()
    box.give(second)
    box.apply()
    box.file.write_text(CAMERA + "# somebody was here\n")
    box.give(order("rollback", undo=second.nonce))
    assert box.apply().state == "rolled back"
    assert box.file.read_text() == CAMERA + "# somebody was here\n", "it is not as the order left it"


def test_an_order_that_was_withheld_is_refused_after_it_was_taken_back(box):
    withheld = order()
    box.give(order("rollback", undo=withheld.nonce))
    box.apply()
    assert "taken back before it came" in box.give(withheld).detail


@pytest.mark.parametrize(("outcome", "reason"), [("refused", "no label x"), ("rolled_back", "no frame comes")])
def test_what_root_did_not_keep_has_failed(box, outcome, reason):
    box.give(order())
    report = box.apply(outcome, reason)
    assert (report.state, report.detail) == ("failed", reason)
    assert box.file.read_text() == CAMERA


def test_a_request_that_nobody_applies_fails_in_the_end(box, monkeypatch):
    given_order = order()
    box.give(given_order)
    monkeypatch.setattr(configuration_handler, "WAIT_SECONDS", -1.0)
    box.handler.recover()
    assert (box.reports[-1].state, box.waiting()) == ("failed", [])
    assert "vedette-configure.path" in box.reports[-1].detail


def test_an_order_that_was_cut_off_before_its_request_has_failed(box):
    box.give(order())
    for path in box.waiting():
        path.unlink()
    box.start()
    box.handler.recover()
    assert (box.reports[-1].state, box.reports[-1].detail) == ("failed", "it was cut off")


@pytest.mark.parametrize(
    ("changes", "key", "keyring", "reason"),
    [
        ({"to": ("plant/hall/line1/box8",)}, KEY, KEYRING, "not for"),
        ({}, Ed25519PrivateKey.from_private_bytes(b"x" * 32), KEYRING, "unknown key"),
        (
            {},
            KEY,
            Keyring({SIGNER: KEY.public_key()}, revoked={SIGNER: Revocation(SIGNER, "2026-01-01", "stolen")}),
            "revoked",
        ),
        ({}, KEY, Keyring({SIGNER: KEY.public_key()}, rules={SIGNER: KeyRule(None, ("tiles",))}), "tiles"),
        ({"expires": NOW + 5}, KEY, KEYRING, "expired"),
        ({"issued": NOW + 9000, "expires": NOW + 9999}, KEY, KEYRING, "future"),
        ({"part": 'source = "rtsp://eve/1"\n'}, KEY, KEYRING, "not for many boxes: source"),
        ({"part": 'bundle = "/tmp/eve.vedette"\n'}, KEY, KEYRING, "not for many boxes: bundle"),
        ({"part": '[evidence]\nurl = "https://eve/x"\n'}, KEY, KEYRING, "not for many boxes: evidence"),
        ({"part": "["}, KEY, KEYRING, "not TOML"),
        ({"part": ""}, KEY, KEYRING, "needs a part"),
        ({"part": "[" * 60_000}, KEY, KEYRING, "not TOML"),
    ],
)
def test_orders_that_are_refused(box, changes, key, keyring, reason):
    box.keyring = keyring
    report = box.give(order(**changes), key)
    assert report.state == "refused"
    assert reason in report.detail
    assert not box.waiting()


def test_a_key_of_one_product_brings_no_other(box):
    box.keyring = Keyring({SIGNER: KEY.public_key()}, rules={SIGNER: KeyRule(None, ("cells",))})
    assert "tiles" in box.give(order(part='bundle = "installed:tiles"\n')).detail
    assert box.give(order()).state == "accepted"


def test_neither_kind_of_order_is_taken_for_the_other(box):
    install = make_order("rollback", (PLACE,), "cells", 2, issued=NOW, expires=NOW + 60)
    with pytest.raises(OrderRefused, match="does not match the order"):
        open_configuration_order(sign_order(install, KEY), KEYRING, PLACE, "cells")
    with pytest.raises(OrderRefused, match="does not match the order"):
        open_order(sign_configuration_order(order(), KEY), KEYRING, PLACE)
    text = msgspec.json.encode(order())
    assert box.send(sign_text(text, KEY, INSTALL_DOMAIN)).state == "refused"
    assert box.send(sign_text(text, KEY, DOMAIN)).state == "accepted"


def test_a_changed_order_is_refused_and_a_nonce_counts_once(box):
    given_order = order()
    signed = json.loads(sign_configuration_order(given_order, KEY))
    signed["order"] = signed["order"].replace("debounce", "cooldown")
    assert "does not match" in box.send(json.dumps(signed).encode()).detail
    box.give(given_order)
    assert "another order with this nonce" in box.give(order(nonce=given_order.nonce, part="[gate]\n")).detail
    assert len(box.waiting()) == 1


def test_the_daemon_of_another_camera_leaves_an_order_alone(box):
    assert box.give(order(camera="yard")) is None
    assert not box.handler.memory.path.exists()


def test_the_memory_holds_no_parts(box):
    box.give(order(part=PART + "#" * 60_000 + "\n"))
    assert box.handler.memory.path.stat().st_size < 2000


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    payload=st.one_of(
        st.binary(max_size=200),
        st.dictionaries(
            st.sampled_from([*msgspec.structs.asdict(order()), "x"]),
            st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=30), st.lists(st.text())),
        ).map(lambda each: sign_text(json.dumps(msgspec.to_builtins(order()) | each).encode(), KEY, DOMAIN)),
    )
)
def test_no_payload_raises(payload, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / f"payloads-{os.getpid()}"
    assert Box(folder).handler.handle(Command(payload)) in (True, False)


def test_each_result_becomes_one_event(box):
    events = ResultEvents(box.settings.state, "door")
    assert events.check() == []
    box.give(order())
    box.apply("rolled_back", "no frame comes")
    (box.settings.state / "door").mkdir()
    ((kind, facts),) = events.check()
    assert (kind, facts["origin"], facts["by"], facts["reason"]) == ("rolled_back", "fleet", SIGNER, "no frame comes")
    assert events.check() == []
    assert ResultEvents(box.settings.state, "door").check() == [], "nor after a restart"
    assert ResultEvents(box.settings.state, "yard").check() == [], "nor by another camera"


@pytest.mark.parametrize(
    ("present", "part"),
    [
        (CAMERA, PART),
        (CAMERA + "[gate]\nseconds = 1.0\n# end\n", "gate.seconds = 2.0\n"),
        ('rules = [\n  {use = "presence"},\n]\n' + CAMERA.split("[[", maxsplit=1)[0], PART),
        (CAMERA + 'name = """\n[gate]\n"""\n', "[gate]\nseconds = 2.0"),
        (CAMERA + "[health]\n[tracker]\nkeep = 1.0\n", 'bundle = "installed:tiles"\n[tracker]\nkeep = 3.0\n'),
        ("\ufeff" + CAMERA.replace("\n", "\r\n"), PART),
        ('gate = {seconds = 1.0}\n"tracker" = {keep = 1.0}\n' + CAMERA, "[gate]\n[tracker]\n"),
    ],
)
def test_a_part_replaces_tables_as_a_whole_and_nothing_else(present, part):
    text = merge(present, part)
    whole, wanted = read(present), read(part)
    assert read(text) == whole | wanted
    assert "# here" in text or "rules = [" in present or '"""' in present


def test_a_part_brings_no_text_of_another_table():
    """What looks like the end of a table is not: the result says what it should, or is written anew."""
    present = CAMERA + 'labels = [\n"a",\n# [gate]\n]\nname = "x"\n'
    assert read(merge(present, "[gate]\nseconds = 1.0\n")) == read(present) | {"gate": {"seconds": 1.0}}
    with pytest.raises(ConfigProblem):
        merge(present, 'source = "x"\n')


def read(text):
    return tomllib.loads(text.removeprefix("\ufeff"))
