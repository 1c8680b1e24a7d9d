"""Reference parts over MQTT: only a fresh order that a trusted key signed for this box begins or acknowledges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vedette.runtime.bundle.keys import generate_key_pair, key_id, read_private_key
from vedette.runtime.bundle.signed_order import sign_text
from vedette.runtime.config.configuration import load_config
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.events.sinks import Command
from vedette.runtime.installation.orders.order import DOMAIN as INSTALL
from vedette.runtime.line import golden_order
from vedette.runtime.line.golden_commands import UNSIGNED, GoldenCommands
from vedette.runtime.line.golden_messages import GoldenCommand, GoldenStatus
from vedette.runtime.line.golden_order import GoldenOrder, sign_golden_order

ROOT = "vedette/v1/plant/hall/line1/box"
PLACE = "plant/hall/line1/box"


class Box:
    """The commands of the camera `door`, and what they made it do."""

    def __init__(self, folder: Path, golden: str = "") -> None:
        (folder / "cameras").mkdir(exist_ok=True)
        generate_key_pair(folder / "keys", "kim")
        (folder / "vedette.toml").write_text(
            '[device]\nname = "box"\nsite = "plant"\narea = "hall"\nline = "line1"\nkeys = "keys"\n'
        )
        (folder / "cameras" / "door.toml").write_text(
            'source = "file:parts"\nbundle = "x.vedette"\n[trigger]\nsource = "mqtt:"\n'
            f"[golden_parts]\nmqtt = true\n{golden}"
        )
        self.key = read_private_key(folder / "keys" / "kim.key")
        self.obeyed: list[tuple[str, str, str]] = []
        self.commands = GoldenCommands(load_config(folder, "door"), self.obey, lambda: None)

    def obey(self, command: GoldenCommand, user: str) -> GoldenStatus:
        if command.action != "show":
            self.obeyed.append((command.action, command.by, user))
        return GoldenStatus("x", "references_due", "start", "", None, (), "", None, None)

    def send(self, payload: bytes, retained: bool = False) -> GoldenStatus | None:
        """The answer to a command."""
        self.commands.limit.times.clear()
        self.commands.take(Command(payload, f"{ROOT}/res/kim", b"", retained, f"{ROOT}/cmd/golden-part"))
        answers = self.commands.pending_messages()
        return msgspec.json.decode(answers[0].payload, type=GoldenStatus) if answers else None

    def ask(self) -> str:
        """The challenge that holds now."""
        answer = self.send(b'{"camera": "door", "action": "show"}')
        assert answer is not None
        assert answer.error == ""
        return answer.challenge

    def order(self, **changes: Any) -> GoldenOrder:
        values = {"challenge": self.ask(), "to": (PLACE,), "camera": "door", "action": "begin", "by": "Kim"}
        return GoldenOrder(**values | changes)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


@pytest.mark.parametrize("action", ["begin", "acknowledge"])
def test_what_is_not_signed_changes_nothing(box: Box, action: str) -> None:
    answer = box.send(msgspec.json.encode({"camera": "door", "action": action, "by": "Kim"}))
    assert answer is not None
    assert (answer.error, answer.lock) == (UNSIGNED, "references_due")
    assert box.obeyed == []


@pytest.mark.parametrize("action", ["begin", "acknowledge"])
def test_a_signed_order_is_obeyed_once(box: Box, action: Any) -> None:
    payload = sign_golden_order(box.order(action=action), box.key)
    assert box.send(payload, retained=True) is None
    answer = box.send(payload)
    assert answer is not None
    assert answer.error == ""
    assert box.obeyed == [(action, "Kim", f"key {key_id(box.key.public_key())}")]
    again = box.send(payload)
    assert again is not None
    assert "challenge" in again.error
    assert len(box.obeyed) == 1
    box.send(sign_golden_order(box.order(), box.key))
    assert len(box.obeyed) == 2, "a fresh one is obeyed"


def test_orders_for_others_and_of_others_are_refused(box: Box, tmp_path: Path) -> None:
    stranger = Ed25519PrivateKey.generate()
    cases = [
        (sign_golden_order(box.order(), stranger), "unknown key"),
        (sign_golden_order(box.order(to=("plant/hall/line1/other",)), box.key), "not for plant/hall/line1/box"),
        (sign_text(msgspec.json.encode(box.order()), box.key, INSTALL), "does not match"),
        (sign_golden_order(box.order(by="\n"), box.key), "printable"),
        (sign_golden_order(box.order(challenge="0" * 32), box.key), "challenge"),
    ]
    for payload, told in cases:
        answer = box.send(payload)
        assert answer is not None, told
        assert told in answer.error
    assert box.send(sign_golden_order(box.order(camera="yard"), box.key)) is None, "the yard's daemon answers"
    for damaged in (b"", b"{}", b"[" * 900, b'{"order": "{", "key": "0123456789abcdef", "signature": ""}', bytes(5000)):
        assert box.send(damaged) is None
    public = tmp_path / "keys" / "kim.pub"
    public.write_text(f"Products: cells\n{public.read_text()}")
    answer = box.send(sign_golden_order(box.order(), box.key))
    assert answer is not None
    assert "limited to products" in answer.error
    assert box.obeyed == []


def test_nobody_spoils_a_challenge_by_asking_and_it_ends(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    first = box.ask()
    assert {box.ask() for _ in range(20)} == {first}
    payload = sign_golden_order(box.order(), box.key)
    now = golden_order.time.monotonic()
    monkeypatch.setattr(golden_order.time, "monotonic", lambda: now + golden_order.CHALLENGE_SECONDS + 1)
    answer = box.send(payload)
    assert answer is not None
    assert "challenge" in answer.error
    assert box.ask() != first
    assert box.obeyed == []


def test_serial_numbers_in_unsigned_triggers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblem, match="unsigned triggers over MQTT"):
        Box(tmp_path, 'good = ["G-1"]\nbad = ["B-1"]\n')


def test_keys_of_their_own(tmp_path: Path) -> None:
    """Who may order a check need not be able to sign bundles, and who signs bundles may not order it."""
    generate_key_pair(tmp_path / "cameras" / "operators", "lee")
    box = Box(tmp_path, 'keys = "operators"\n')
    lee = read_private_key(tmp_path / "cameras" / "operators" / "lee.key")
    refused = box.send(sign_golden_order(box.order(), box.key))
    assert refused is not None
    assert "unknown key" in refused.error
    box.send(sign_golden_order(box.order(by="Lee"), lee))
    assert [by for _, by, _ in box.obeyed] == ["Lee"]


def test_a_missing_folder_of_keys_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblem, match="operators: no such folder"):
        Box(tmp_path, 'keys = "operators"\n')
