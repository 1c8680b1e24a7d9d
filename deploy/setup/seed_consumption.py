"""A seed is taken once, and then destroyed: the first boot of a box.

    1. the files of the configuration          each whole or not at all, synced
    2. the units                               enabled
    3. `seeds.json`                            this instance was taken
    4. `vedette.seed.result`                   beside the seed: how it went, in one line without a secret
    5. the seed                                overwritten, synced, removed

A power cut between any two steps leaves the seed in place until step 5, and every step may be repeated. A start that
finds the instance in `seeds.json` only goes on from step 4. Flash memory may keep old copies of overwritten blocks that
only a laboratory reads; overwriting hides the seed from everybody who just mounts the card.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from vedette.runtime.atomic_file import sync_folder
from vedette.runtime.errors import UNREADABLE, ConfigProblem, MachineProblem, Problem
from vedette.runtime.redaction import redact

from ..seed import Seed
from .durable_files import PlannedFile, write_all, write_file

log = logging.getLogger(__name__)

RECORD = "seeds.json"
RESULT_SUFFIX = ".result"


class TakenSeed(msgspec.Struct, frozen=True):
    """A seed that this box took."""

    instance: str
    sha256: str
    """Digest of the file."""
    shredded: bool = False
    """The file is gone."""


def consume_seed(path: Path, folder: Path, read: Callable[[Path], Seed], apply: Callable[[Seed], None]) -> str:
    """Takes a seed, unless it was taken; returns what became of it, in one line.

    Args:
        path: the seed
        folder: configuration folder
        read: reads the seed
        apply: writes the configuration of a seed to the disk, synced, and enables the units; may be called again for
            the same seed

    Raises:
        Problem: the seed cannot be taken; it stays where it is, and the result file says why.
    """
    taken = _read_record(folder)
    secrets: list[str] = []
    try:
        content = _read(path)
        digest = hashlib.sha256(content).hexdigest()
        if _is_half_shredded(content, taken):
            text = "ok: the rest of a seed that was taken before is removed"
        else:
            seed = read(path)
            secrets = _list_secrets(seed)
            text = _take(seed, digest, folder, taken, apply)
        write_result(path, text)
        _shred(path)
        taken = [msgspec.structs.replace(each, shredded=True) for each in _read_record(folder)]
        _write_record(folder, taken)
    except Problem as problem:
        words = f"failed: {problem.message}" + (f"; {problem.hint}" if problem.hint else "")
        write_result(path, _without(words, secrets))
        raise problem.reworded(_without(problem.message, secrets), _without(problem.hint, secrets)) from None
    return text


def write_result(path: Path, text: str) -> None:
    """Writes the line beside the seed, where the person with the card looks; a card that is read-only only warns."""
    result = path.with_name(path.name + RESULT_SUFFIX)
    try:
        descriptor = os.open(result, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            write_all(descriptor, f"{redact(' '.join(text.split()))}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(result.parent)
    except OSError as error:
        log.warning("%s: %s", result, error.strerror)


def _take(seed: Seed, digest: str, folder: Path, taken: list[TakenSeed], apply: Callable[[Seed], None]) -> str:
    before = next((each for each in taken if each.instance == seed.instance), None)
    if before is not None and before.sha256 != digest:
        raise ConfigProblem(
            f"this box took another seed of the instance {seed.instance} before",
            hint="give the seed another `instance`; or remove the seed, the box is set up",
        )
    if before is None:
        apply(seed)
        _write_record(folder, [*taken, TakenSeed(seed.instance, digest)])
    elif before.shredded:  # the file came back after it was removed
        _write_record(folder, [each for each in taken if each != before] + [TakenSeed(seed.instance, digest)])
    cameras = ", ".join(each.name for each in seed.cameras) or "none"
    again = "" if before is None else " was taken before, nothing changes:"
    return f"ok: instance {seed.instance},{again} device {seed.device.name}, cameras {cameras}"


def _is_half_shredded(content: bytes, taken: list[TakenSeed]) -> bool:
    """Whether a start before this one was cut off while it overwrote the seed: TOML never holds a zero byte."""
    return any(not each.shredded for each in taken) and (b"\0" in content or not content)


def _shred(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            write_all(descriptor, bytes(os.fstat(descriptor).st_size))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.unlink(path)
        sync_folder(path.parent)
    except OSError as error:
        hint = "it holds secrets: remove it by hand, and see whether the card is write-protected"
        raise MachineProblem(f"{path}: the seed cannot be removed: {error.strerror}", hint=hint) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigProblem(f"{path}: {error.strerror}", hint="check the path of the seed") from None


def _read_record(folder: Path) -> list[TakenSeed]:
    path = folder / RECORD
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[TakenSeed])
    except FileNotFoundError:
        return []
    except (OSError, *UNREADABLE) as error:
        raise MachineProblem(f"{path}: {error}", hint="remove the file if this box may take its seed again") from None


def _write_record(folder: Path, taken: list[TakenSeed]) -> None:
    write_file(PlannedFile(folder / RECORD, msgspec.json.encode(taken) + b"\n"), keep=False)


def _list_secrets(seed: Seed) -> list[str]:
    """Passwords and keys of a seed, the longest first."""
    texts = [seed.broker.password, seed.broker.key, *(camera.password for camera in seed.cameras)]
    return sorted(filter(None, texts), key=len, reverse=True)


def _without(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "…")
    return text
