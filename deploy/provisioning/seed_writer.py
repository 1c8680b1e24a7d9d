"""The files of one box's card: seed, bundles and first-boot data, with an instance that stands for their content."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
from pathlib import Path

import msgspec

from vedette.runtime.errors import ConfigProblem, MachineProblem

from ..seed import FILE_NAME, Seed, SeedBroker, SeedCamera, SeedDevice, render_seed
from .cloud_init import render_meta_data, render_network_config, render_user_data
from .fleet_table import Box

INSTALLED = "installed:"
_FAT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}(?<!\.)")
_RESERVED = (FILE_NAME, "user-data", "network-config", "meta-data", "cmdline.txt", "config.txt")
_INSTANCE_NAME = 36  # characters of the device name in an instance, which may have 64


class Card(msgspec.Struct, frozen=True):
    """What a box's folder will hold."""

    instance: str
    texts: dict[str, str]
    """Content by file name."""
    bundles: dict[str, Path]
    """Files to copy, by the name that they get."""


def make_card(box: Box, broker: SeedBroker, keys: dict[str, str], base: Path) -> Card:
    """The card of one box.

    Args:
        box: its row
        broker: where it connects to, and its login
        keys: trusted public keys, file name to PEM text
        base: folder from which bundles are named

    Raises:
        ConfigProblem: a bundle is missing, or two bundles of the box have one file name.
    """
    cameras, bundles = list[SeedCamera](), dict[str, Path]()
    for camera in box.cameras:
        bundle = camera.bundle
        if not bundle.startswith(INSTALLED):
            path = (base / bundle).resolve()
            bundle = path.name
            if not _FAT_NAME.fullmatch(bundle) or bundle.lower() in _RESERVED:
                hint = "rename it: letters, digits, dots, dashes and underscores"
                raise ConfigProblem(f"{box.name}: {bundle!r} is no name for a file on the card", hint=hint)
            same = next((each for each in bundles if each.lower() == bundle.lower()), bundle)
            if bundles.setdefault(same, path) != path:
                raise ConfigProblem(f"{box.name}: two bundles are called {bundle}", hint="rename one of them")
        cameras.append(
            SeedCamera(
                name=camera.name,
                source=camera.source,
                username=camera.username,
                password=camera.password,
                bundle=bundle,
            )
        )
    seed = Seed(
        device=SeedDevice(name=box.name, site=box.site, area=box.area, line=box.line, timezone=box.timezone),
        broker=broker,
        cameras=tuple(cameras),
        keys=keys,
    )
    texts = {"user-data": render_user_data(box), "network-config": render_network_config(box)}
    content = [render_seed(seed), *texts.values(), *(f"{name} {digest_file(path)}" for name, path in bundles.items())]
    digest = hashlib.sha256("\0".join(content).encode()).hexdigest()[:16]
    instance = f"{box.name[:_INSTANCE_NAME]}-r{box.revision}-{digest}"
    texts["meta-data"] = render_meta_data(box, instance)
    texts[FILE_NAME] = render_seed(msgspec.structs.replace(seed, instance=instance))
    return Card(instance, texts, bundles)


@functools.cache
def digest_file(path: Path) -> str:
    """SHA-256 of a bundle; a fleet's boxes share few bundles, and each is read once.

    Raises:
        ConfigProblem: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        hint = "the column bundle names a file, relative to the table, or installed:NAME"
        raise ConfigProblem(f"{path}: {error.strerror}", hint=hint) from None


def write_card(card: Card, folder: Path, copies: dict[Path, Path]) -> None:
    """Writes a box's folder.

    Args:
        card: what it holds
        folder: the folder, which does not exist yet
        copies: where a bundle was copied already; further boxes get a link to the copy, if the disk knows links

    Raises:
        MachineProblem: it cannot be written.
    """
    try:
        folder.mkdir(parents=True)
        for name, text in card.texts.items():
            (folder / name).write_bytes(text.encode())
        for name, path in card.bundles.items():
            try:
                os.link(copies[path], folder / name)
            except (KeyError, OSError):
                shutil.copyfile(path, folder / name)
                copies[path] = folder / name
    except OSError as error:
        raise MachineProblem(f"{folder}: {error.strerror}", hint="choose another --out") from None


def read_public_keys(paths: list[Path]) -> dict[str, str]:
    """Public keys that the boxes will trust, by file name.

    Raises:
        ConfigProblem: a file cannot be read, is no text, or two have one name.
    """
    keys = dict[str, str]()
    for path in paths:
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigProblem(f"{path}: {error}", hint="name the signer's NAME.pub") from None
        if keys.setdefault(path.name, text) != text:
            raise ConfigProblem(f"two keys are called {path.name}", hint="rename one of them")
    return keys
