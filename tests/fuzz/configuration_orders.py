"""Orders that change a camera's file, signed by a trusted key, and requests that a taken-over user leaves for root.

No order may end the daemon's handler, and no request the program of root; neither may change what only root may.
"""

from __future__ import annotations

import contextlib
import json
import random
import tempfile
import tomllib
import traceback
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from file_inputs import Keep
from mutations import mutate, random_of

from vedette.deploy.setup import request_applier
from vedette.deploy.setup.request_applier import RequestApplier
from vedette.runtime.bundle.keys import Keyring, key_id
from vedette.runtime.bundle.signed_order import sign_text
from vedette.runtime.config.configuration import load_config
from vedette.runtime.errors import Problem
from vedette.runtime.events.sinks import Command
from vedette.runtime.installation.configuration.change_requests import request_change
from vedette.runtime.installation.configuration.configuration_handler import ConfigurationHandler
from vedette.runtime.installation.configuration.configuration_order import DOMAIN
from vedette.runtime.installation.configuration.permitted_changes import BUNDLE, PERMITTED

PLACE, NOW = "plant/hall/line1/box7", 2e9
CAMERA = '# the door\nsource = "file:none"  # here\nbundle = "installed:cells"\n[[rules]]\nuse = "presence"\n'
_PARTS = (
    '[[rules]]\nuse = "presence"\ndebounce = 3\n', "[gate]\nthreshold = 2.0\n", 'bundle = "installed:tiles"\n',
    'bundle = "/etc/passwd"\n', 'source = "rtsp://evil.example"\n', "[evidence]\nfolder = \"/\"\n", "[[rules]]\n",
    "rules.a = 1\n", '"rules" = []\nsource = "x"\n', "[rules\n", '[[rules]]\nx = """\n[evidence]\n"""\n',
    "[[source]]\n", "[privacy]\nzones = []\n", "thresholds = {}\n", "health.stalled = 1\n", "\ufeff[gate]\n",
    "gate = 1979-05-27T07:32:00Z\n",
)  # fmt: skip
_ODD = (None, -1, 0, 1.5, 2**63, "", "x", "../door", "belt", [], ["*/*/*/*"], [PLACE] * 900, {}, "\x00", "0" * 32)


class _Box:
    """A camera's handler, whose requests are applied as root would."""

    def __init__(self, folder: Path) -> None:
        (folder / "cameras").mkdir(parents=True)
        for name in ("requests", "results"):
            (folder / "state" / "configuration" / name).mkdir(parents=True)
        (folder / "vedette.toml").write_text('[device]\nname = "box7"\nstate = "state"\n')
        self.folder, self.file = folder, folder / "cameras" / "door.toml"
        self.file.write_text(CAMERA)
        self.settings, self.key = load_config(folder, "door"), Ed25519PrivateKey.generate()
        keyring = Keyring({key_id(self.key.public_key()): self.key.public_key()})
        clock: Any = mock.Mock(wall_time=lambda: NOW, time_quality=lambda: "synced")
        self.handler = ConfigurationHandler(
            PLACE, self.settings, "cells", lambda: keyring, clock, lambda _, report: json.dumps(report.detail),
            lambda *arguments, **more: request_change(*arguments, **more | {"folder": None}),
        )  # fmt: skip

    def apply(self) -> list[str]:
        """Applies what waits; returns the outcomes."""
        return [each.outcome for each in RequestApplier(self.folder, 0, lambda *_: []).apply_all()]

    def find_fault(self) -> str:
        """What a request changed that is root's; empty: nothing."""
        now, before = tomllib.loads(self.file.read_text()), tomllib.loads(CAMERA)
        for key in {*now, *before} - {*PERMITTED}:
            if now.get(key) != before.get(key) and not (key == BUNDLE and now.get(key) == "installed:tiles"):
                return f"traceback: a request changed {key}"
        return ""


def fuzz_orders_to_configure(numbers: range, keep: Keep) -> Counter[str]:
    """Counts what becomes of odd orders and requests."""
    counts = Counter[str]()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(request_applier, "_check_as_service", return_value=None),
        mock.patch.object(request_applier, "change_camera", _change),
        mock.patch.object(request_applier, "read_without_root", lambda read: read()),
    ):
        box = _Box(Path(folder, "box"))
        for number in numbers:
            rng, content = random_of("request", number), b""
            try:
                if rng.random() < 0.6:
                    content = _make_order(rng, box.key, number)
                    outcome = "order taken" if box.handler.handle(Command(content, "res")) else "order refused"
                else:
                    content = _leave_request(rng, box, number)
                    outcome = "request left"
                for each in box.apply():
                    counts[f"change {each}"] += 1
                outcome = box.find_fault() or outcome
            except Problem as problem:
                outcome = f"traceback: exit {problem.code}: {problem.message[:100]}"
            except Exception:  # noqa: BLE001  # what the fuzzing looks for
                outcome = "traceback"
                keep("request", number, content, traceback.format_exc())
            if outcome.startswith("traceback: "):
                keep("request", number, content, outcome)
            box.file.write_text(CAMERA)
            if number % 20 == 0:
                box.handler.recover()
            counts[outcome] += 1
    return counts


def _change(folder: Path, camera: str, content: bytes, *more: Any) -> Any:
    """As `change_camera`, without a daemon."""
    path = folder / "cameras" / f"{camera}.toml"
    more[-1](folder, camera, path.read_bytes(), content)
    path.write_bytes(content)
    return mock.Mock(left=[])


def _make_part(rng: random.Random) -> str:
    part = "".join(rng.sample(_PARTS, rng.choice((1, 1, 2))))
    if rng.random() < 0.05:
        depth = rng.choice((50, 200, 300, 400, 450, 480, 5000))
        part = "[gate]\nthreshold = " + "[" * depth + "]" * depth + "\n"
    if rng.random() < 0.05:
        part = "[gate]\n" + ".".join("a" * rng.choice((10, 400, 900))) + " = 1\n"
    return mutate(rng, part.encode()).decode("utf-8", "replace") if rng.random() < 0.3 else part


def _make_order(rng: random.Random, key: Ed25519PrivateKey, number: int) -> bytes:
    values: dict[str, Any] = {
        "nonce": f"{number:032x}", "action": rng.choice(("configure", "configure", "rollback")), "to": [PLACE],
        "camera": "door", "issued": int(NOW) - 5, "expires": int(NOW) + 3600, "part": _make_part(rng),
    }  # fmt: skip
    if values["action"] == "rollback":
        values |= {"part": "", "undo": f"{max(number - rng.randrange(9), 0):032x}"}
    if rng.random() < 0.3:
        values[rng.choice((*values, "x"))] = rng.choice(_ODD)
    text = json.dumps(values).encode()
    if rng.random() < 0.1:
        text = mutate(rng, text).decode(errors="replace").encode()
    payload = sign_text(text, key, DOMAIN)
    return mutate(rng, payload) if rng.random() < 0.1 else payload


def _leave_request(rng: random.Random, box: _Box, number: int) -> bytes:
    """Writes a request as somebody would who has the state folder."""
    folder = box.settings.state / "configuration" / "requests"
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "results").mkdir(exist_ok=True)
    name = f"{number:032x}" if rng.random() < 0.9 else rng.choice(("x", "..x", "0" * 31))
    values: dict[str, Any] = {"id": name, "camera": "door", "origin": "page", "by": "x", "created": 1e9 + number}
    if rng.random() < 0.4:
        values[rng.choice(sorted(values))] = rng.choice(_ODD)
    text = (CAMERA + _make_part(rng) if rng.random() < 0.5 else _make_part(rng)).encode()
    if rng.random() < 0.2:
        text = mutate(rng, text)
    if rng.random() < 0.05:
        with contextlib.suppress(FileExistsError):
            (folder / f"{name}.toml").symlink_to("/etc/passwd")
    else:
        (folder / f"{name}.toml").write_bytes(text)
    head = json.dumps(values).encode()
    (folder / f"{name}.json").write_bytes(mutate(rng, head) if rng.random() < 0.2 else head)
    return head + b"\n" + text
