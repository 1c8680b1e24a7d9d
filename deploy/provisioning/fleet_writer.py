"""All that a table of boxes becomes, in one folder that appears whole or not at all.

    boxes/NAME/     what goes on the FAT partition of the card of NAME
    broker/         what goes to the broker's machine
    operator/       login of whoever watches and commands the boxes
    labels/         labels to print
    provision.json  passwords and instances, for the next run

A new tree is written beside the old one and takes its place with two renames. A run that was cut off between the two is
mended by the next one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec

from vedette.runtime.errors import ConfigProblem, MachineProblem

from .broker_files import render_broker_files
from .certificate_authority import LEAF_DAYS, CertificateAuthority
from .fleet_identities import issue_certificates, make_box_broker, make_logins, read_pair, server_name
from .fleet_settings import OPERATOR, READER, FleetSettings
from .fleet_table import Box
from .labels import Picture, load_segno, render_labels
from .provision_state import FILE_NAME, ProvisionState
from .seed_writer import make_card, write_card

_SYNC_THREADS = 32
_OWN = ("boxes", "broker", "operator", "labels", FILE_NAME)


class Provisioned(msgspec.Struct, frozen=True):
    """What a run has done."""

    new: tuple[str, ...]
    changed: tuple[str, ...]
    """Boxes whose cards must be written again."""
    gone: tuple[str, ...]
    """Boxes that the table no longer has."""
    signed: tuple[str, ...]
    renew: tuple[str, ...]
    """Certificates of which two thirds of the life are over."""


def write_fleet(
    boxes: tuple[Box, ...],
    settings: FleetSettings,
    keys: dict[str, str],
    out: Path,
    base: Path,
    authority: CertificateAuthority | None = None,
    picture: Picture | None = "svg",
    days: int = LEAF_DAYS,
) -> Provisioned:
    """Writes the folder `out`. Boxes whose rows did not change keep passwords, keys and instances.

    Args:
        boxes: the rows of the table
        settings: the broker
        keys: trusted public keys of bundles, file name to PEM text
        out: the folder; new, empty, or from an earlier run
        base: folder from which the table names bundles
        authority: who signs certificates; None: there are none
        picture: format of QR codes; None: no labels
        days: life of new certificates

    Raises:
        ConfigProblem: `out` holds something else, or a bundle or a key is missing.
        MachineProblem: it cannot be written.
    """
    out = out.resolve()
    _mend(out)
    state = ProvisionState.read(out)
    if state is None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigProblem(f"{out} holds something else", hint="name a new folder with --out")
    if picture is not None:
        load_segno()
    names = tuple(box.name for box in boxes)
    before = state or ProvisionState()
    logins = make_logins(before.logins, names, settings.broker)
    authority = authority if settings.broker.is_tls else None
    signed, renew = issue_certificates(authority, settings.broker, names, days) if authority else ([], [])
    cards = {
        box.name: make_card(box, make_box_broker(settings.broker, box.name, logins, authority), keys, base)
        for box in boxes
    }
    instances = {name: card.instance for name, card in cards.items()}
    after = ProvisionState(url=settings.broker.url, prefix=settings.broker.prefix, instances=instances, logins=logins)
    with _replaced(out) as part:
        copies = dict[Path, Path]()
        for name, card in cards.items():
            write_card(card, part / "boxes" / name, copies)
        _write(part / "broker", render_broker_files(settings.broker, names, logins))
        _write(part / "operator", {f"{user}.password": f"{logins[user].password}\n" for user in (OPERATOR, READER)})
        if authority is not None:
            _write(part / "broker", _broker_certificates(authority, settings))
            _write(part / "operator", _operator_certificates(authority, settings))
        if picture is not None:
            _write(part / "labels", render_labels(boxes, instances, settings.broker.prefix, picture))
        _write(part, {FILE_NAME: after.render()})
    return Provisioned(
        new=tuple(name for name in names if name not in before.instances),
        changed=tuple(name for name in names if before.instances.get(name, instances[name]) != instances[name]),
        gone=tuple(name for name in before.instances if name not in instances),
        signed=tuple(signed),
        renew=tuple(renew),
    )


def _broker_certificates(authority: CertificateAuthority, settings: FleetSettings) -> dict[str, str]:
    certificate, key = read_pair(authority, server_name(settings.broker))
    revocations = (authority.folder / "crl.pem").read_text()
    trusted = (authority.folder / "ca.pem").read_text()
    return {"ca.pem": trusted, "crl.pem": revocations, "server.pem": certificate, "server.key": key}


def _operator_certificates(authority: CertificateAuthority, settings: FleetSettings) -> dict[str, str]:
    files = {"ca.pem": (authority.folder / "ca.pem").read_text()}
    if settings.broker.login == "certificate":
        certificate, key = read_pair(authority, OPERATOR)
        files |= {f"{OPERATOR}.pem": certificate, f"{OPERATOR}.key": key}
    return files


def _write(folder: Path, files: dict[str, str] | dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(f".{out.name}.{ending}")


def _mend(out: Path) -> None:
    """Ends what a run that was cut off has begun."""
    part, old = _beside(out, "part"), _beside(out, "old")
    if old.exists() and not out.exists():
        old.rename(out)
    _keep_others(old, out)
    for rest in (part, old):
        shutil.rmtree(rest, ignore_errors=True)


def _keep_others(old: Path, out: Path) -> None:
    """Moves what somebody else has put into the old folder to the new one."""
    for path in old.iterdir() if old.exists() else ():
        if path.name not in _OWN:
            path.rename(out / path.name)


def _sync_files(folder: Path) -> None:
    """Makes sure that no file is empty after a power cut. Many at once share the commits of the file system."""
    nodes = {path.stat().st_ino: path for path in folder.rglob("*") if path.is_file()}  # links of each other: once
    with ThreadPoolExecutor(_SYNC_THREADS) as pool:
        list(pool.map(_sync_file, nodes.values()))


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _replaced(out: Path) -> Iterator[Path]:
    """A folder that takes the place of `out` once the block is done; nobody but its owner may read it."""
    part, old = _beside(out, "part"), _beside(out, "old")
    mask = os.umask(0o077)
    try:
        part.mkdir(parents=True)
        yield part
        _sync_files(part)
        if out.exists():
            out.rename(old)
        part.rename(out)
        _keep_others(old, out)
    except OSError as error:
        raise MachineProblem(f"{error.filename or out}: {error.strerror}", hint="choose another --out") from None
    finally:
        os.umask(mask)
        if out.exists():
            for rest in (part, old):
                shutil.rmtree(rest, ignore_errors=True)
