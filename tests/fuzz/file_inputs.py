"""Mutated bundles and configurations, in this process."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from altered_bundles import STORED, stored_bundle
from mutations import mutate, random_of

from vedette.runtime import daemon
from vedette.runtime.bundle import archive, keys
from vedette.runtime.bundle.bundle import MANIFEST, SIGNATURE, Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.config.configuration import load_config
from vedette.runtime.errors import Problem
from vedette.runtime.installation import product_models

Keep = Callable[[str, int, bytes, str], None]

DEVICE = """\
[device]
name = "box"
site = "plant"
keys = "KEYS"
state = "STATE"
[broker]
url = "mqtts://broker.local:8883"
username = "box"
prefix = "a/b"
keepalive = 15
[outbox]
volatile = true
max_bytes = 1000000
"""
CAMERA = """\
source = "rtsp://camera.local/stream?x=1#fps=5"
bundle = "weave.vedette"
backend = "auto"
threads = 1
max_pixels = 4000000
[health]
stalled = 10.0
[gate]
threshold = 5.0
[privacy]
zones = [[[0.1, 0.1], [0.5, 0.1], [0.3, 0.4]]]
[[rules]]
use = "presence"
hysteresis = 0.05
cooldown = 3.0
update = 2.0
threshold = 1.5
"""
_WORDS = ("-1", "0", "1e308", "nan", "inf", "true", '""', "[]", "{}", '"x"', "1.5", "9223372036854775808", "1979-05-27")


def fuzz_bundles(numbers: range, keep: Keep) -> Counter[str]:
    """Counts what becomes of mutated bundles; `accepted unsigned` must stay 0."""
    counts = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        private = keys.read_private_key(keys.generate_key_pair(Path(folder))[0])
        shutil.copy(STORED / "vedette.pub", Path(folder) / "stored.pub")
        keyring, stored = Keyring.read(Path(folder)), (STORED / "weave.vedette").read_bytes()
        members = archive.unpack_archive(STORED / "weave.vedette")
        path = Path(folder) / "mutant.vedette"
        for number in numbers:
            rng = random_of("bundle", number)
            signed = rng.random() < 0.3
            content = _sign_changed(rng, private, members) if signed else _damage(rng, stored, members)
            path.write_bytes(content)
            try:
                Bundle.open(path, keyring)
                outcome = "accepted, signed by a trusted key" if signed or content == stored else "accepted unsigned"
            except Problem as problem:
                outcome = f"exit {problem.code}"
            except Exception:  # noqa: BLE001  # what the fuzzing looks for
                outcome = "traceback"
                keep("bundle", number, content, traceback.format_exc())
            counts[outcome] += 1
            if outcome == "accepted unsigned":
                keep("bundle", number, content, outcome)
    return counts


def _damage(rng: random.Random, stored: bytes, members: dict[str, bytes]) -> bytes:
    """A damaged file, or a well-formed one with members changed, added or left out; nobody signed it."""
    kind = rng.randrange(5)
    if kind == 0:
        return mutate(rng, stored)
    if kind == 1:  # the central directory
        return mutate(rng, stored, range(len(stored) - 900, len(stored)))
    changed, name = dict(members), rng.choice(sorted(members))
    if kind == 2:
        del changed[name]
    elif kind == 3:
        changed[name] = mutate(rng, members[name])
    else:
        changed[MANIFEST] = mutate(rng, members[MANIFEST])
    return archive.pack_archive(changed)


def _sign_changed(rng: random.Random, private: Any, members: dict[str, bytes]) -> bytes:
    """A bundle whose manifest was changed and then signed with a trusted key."""
    manifest = json.loads(members[MANIFEST])
    manifest["signer"] = keys.key_id(private.public_key())
    for _ in range(rng.randint(1, 3)):
        _change_value(rng, manifest)
    text = json.dumps(manifest).encode()
    if rng.random() < 0.1:
        text = mutate(rng, text)
    if rng.random() < 0.01:
        text = text[:-1] + b',"deep":' + b"[" * 50_000
    return archive.pack_archive(members | {MANIFEST: text, SIGNATURE: private.sign(text)})


def _change_value(rng: random.Random, value: Any) -> None:
    """Replaces, removes or adds one value somewhere in a tree of JSON."""
    while isinstance(value, dict | list) and value:
        key: Any = rng.choice(sorted(value)) if isinstance(value, dict) else rng.randrange(len(value))
        if isinstance(value[key], dict | list) and value[key] and rng.random() < 0.8:
            value = value[key]
            continue
        odd = [
            None,
            -1,
            0,
            1,
            1e308,
            -1e308,
            2**31,
            2**63,
            True,
            "",
            "x",
            "a\nb",
            "../x",
            [],
            {},
            [0],
            "\ud7ff",
            "é" * 9,
        ]
        if rng.random() < 0.15:
            del value[key]
        else:
            value[key] = rng.choice(odd)
        return


def fuzz_configurations(numbers: range, keep: Keep) -> Counter[str]:
    """Counts what becomes of mutated configurations, through the constructor of the daemon without its model."""
    counts = Counter[str]()
    bundle = stored_bundle()
    backend = mock.Mock(version="none", is_float=False)
    with (
        tempfile.TemporaryDirectory() as place,
        mock.patch.object(product_models, "select_backend", return_value=backend),
    ):
        folder = Path(place)
        (folder / "cameras").mkdir()
        shutil.copy(bundle.path, folder / "cameras")
        device = DEVICE.replace("KEYS", str(STORED)).replace("STATE", str(folder / "state"))
        for number in numbers:
            rng = random_of("configuration", number)
            texts = [device, CAMERA]
            chosen = rng.randrange(2)
            texts[chosen] = _change_text(rng, texts[chosen])
            for name, text in zip(("vedette.toml", "cameras/door.toml"), texts, strict=True):
                (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
            try:
                made = daemon.Daemon(load_config(folder, "door"), open_sink=lambda *_: mock.Mock())
                made.delivery.outbox.close()
                outcome = "accepted"
            except Problem as problem:
                outcome = f"exit {problem.code}"
            except Exception:  # noqa: BLE001  # what the fuzzing looks for
                outcome = "traceback"
                keep("configuration", number, texts[chosen].encode("utf-8", "replace"), traceback.format_exc())
            counts[outcome] += 1
    return counts


def _change_text(rng: random.Random, text: str) -> str:
    """Replaces values of keys, or damages the text."""
    if rng.random() < 0.3:
        return mutate(rng, text.encode()).decode("utf-8", "surrogateescape")
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        line = rng.randrange(len(lines))
        key, equals, value = lines[line].partition(" = ")
        if not equals:
            continue
        if rng.random() < 0.5:
            lines[line] = f"{key} = {rng.choice(_WORDS)}"
        elif rng.random() < 0.2:
            lines[line] = f"{key}x = {value}"
        else:
            changed = mutate(rng, value.encode("utf-8", "surrogateescape"), most=3)
            lines[line] = f"{key} = {changed.decode('utf-8', 'surrogateescape')}"
    return "\n".join(lines)
