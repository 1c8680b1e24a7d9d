"""The seed of a box: one TOML file on the FAT partition of its card, with all that set-up would otherwise ask for.

`vedette provision` writes one for each box; `vedette setup --seed FILE` reads it. It holds secrets: after set-up it is
overwritten and removed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from vedette.runtime.config.configuration import Name
from vedette.runtime.config.toml_file import read_toml

FILE_NAME = "vedette.seed"
DOCS = "docs/provisioning.md"


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class SeedDevice(_Table, frozen=True):
    """`[device]`: what the box is called, and where it stands."""

    name: Name
    site: Name = "site"
    area: Name = "area"
    line: Name = "line"
    timezone: str = ""


class SeedBroker(_Table, frozen=True):
    """`[broker]`: where events go, and how the box logs in there. Certificates and keys are PEM texts."""

    url: str = "mqtt://localhost:1883"
    prefix: str = "vedette"
    username: str = ""
    password: str = ""
    ca: str = ""
    """Certificate of the authority that signed the broker's certificate."""
    certificate: str = ""
    """Certificate of this box."""
    key: str = ""
    """Private key of `certificate`."""


class SeedCamera(_Table, frozen=True, kw_only=True):
    """`[[cameras]]`: one camera of the box."""

    name: Name
    source: str
    username: str = ""
    password: str = ""
    bundle: str
    """File of the bundle, relative to the seed."""
    rules: tuple[dict[str, Any], ...] = ({"use": "presence"},)


class Seed(_Table, frozen=True, kw_only=True):
    """The whole file."""

    format: Literal[1] = 1
    instance: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "manual"
    """Unique to the box and its revision: a box does not take the seed of an instance a second time."""
    device: SeedDevice
    broker: SeedBroker = SeedBroker()
    cameras: tuple[SeedCamera, ...] = ()
    keys: dict[str, str] = {}
    """Trusted public keys: file name to PEM text."""


def read_seed(path: Path) -> Seed:
    """Reads a seed.

    Raises:
        ConfigProblem: the file cannot be read, is not TOML, or a key is missing, unknown or of the wrong type.
    """
    return read_toml(path, Seed, docs=DOCS)


def render_seed(seed: Seed) -> str:
    """The seed as TOML, keys with their defaults left out."""
    return msgspec.toml.encode(seed).decode()
