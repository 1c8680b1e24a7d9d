"""Bundles that a trusted key has signed although something in them is wrong, made of a stored bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from paths import TESTS

from vedette.compress.export.bundle_writer import sign_bundle
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring, read_private_key

STORED = TESTS / "bundles" / "v1"


def stored_bundle() -> Bundle:
    """A small bundle of an anomaly model, 64 x 64 pixels."""
    return Bundle.open(STORED / "weave.vedette", Keyring.read(STORED))


def sign_altered(path: Path, keys: Path, members: dict[str, bytes] | None = None, **changes: Any) -> Path:
    """Writes the stored bundle with other members and other values in its manifest, signed with the key in `keys`."""
    bundle = stored_bundle()
    manifest = msgspec.structs.replace(bundle.manifest, **changes)
    content = sign_bundle(manifest, bundle.members | (members or {}), read_private_key(keys / "vedette.key"))[1]
    path.write_bytes(content)
    return path
