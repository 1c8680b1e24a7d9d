"""Measures a candidate on the real device, over SSH.

The candidate is packed as a bundle of its own, signed like the finished one, and copied into a new folder there with
the public key beside it; `vedette bench` measures it, and the folder is removed again. Nothing else is touched. The
OpenSSH client of this machine does it, with its own configuration and agent, and asks nothing (BatchMode).
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import SplitResult

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vedette.devices import DeviceProfile, decode
from vedette.runtime.bundle.manifest import Manifest
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.plugins import split_url

from ..export import bundle_writer

_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=15")
_MINUTES = 15
_NO_CONNECTION = 255  # ssh's own exit code; any other is that of the command
_NOT_FOUND = 127


def check(url: str) -> None:
    """That `url` is one and that `vedette` answers there, before the long work.

    Raises:
        ConfigProblem: it is not of the form ssh://user@host.
        MachineProblem: the device cannot be reached, or has no `vedette`.
    """
    _ssh(_parts(url), "vedette --version")


def measure(url: str, manifest: Manifest, members: dict[str, bytes], key: Ed25519PrivateKey) -> DeviceProfile:
    """What `vedette bench` says of the candidate on the device.

    Args:
        url: ssh://user@host, perhaps with :port
        manifest: of the candidate, as far as it is known
        members: its models and golden outputs
        key: signs what is sent

    Raises:
        ConfigProblem: the URL is none.
        MachineProblem: the device cannot be reached, or cannot measure.
    """
    parts = _parts(url)
    _, data = bundle_writer.sign(manifest, members, key)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    there = _ssh(parts, "mktemp -d").strip()
    if not there.startswith("/"):
        raise MachineProblem(f"{url}: mktemp -d made no folder, but said {there!r}", hint="let its shell print nothing")
    try:
        with tempfile.TemporaryDirectory() as folder:
            bundle, trusted = Path(folder, "candidate.vedette"), Path(folder, "workshop.pub")
            bundle.write_bytes(data)
            trusted.write_bytes(public)
            _copy(parts, [bundle, trusted], there)
        answer = _ssh(parts, f"vedette bench '{there}/candidate.vedette' --keys '{there}' --json")
    finally:
        with contextlib.suppress(MachineProblem):  # what went wrong before says more
            _ssh(parts, f"rm -rf -- '{there}'")
    try:
        return decode(answer.encode())
    except msgspec.MsgspecError as error:
        hint = "install the same version of vedette there as here"
        raise MachineProblem(f"{url}: vedette bench answered something else ({error})", hint=hint) from None


def _parts(url: str) -> SplitResult:
    parts = split_url(url, "--on")
    try:
        wrong = parts.scheme != "ssh" or not parts.hostname or parts.path not in ("", "/") or parts.port == 0
    except ValueError:
        wrong = True
    if wrong or (parts.hostname or "").startswith("-") or (parts.username or "").startswith("-") or parts.password:
        raise ConfigProblem(f"--on {url}: not of the form ssh://user@host", hint="as in --on ssh://pi@192.168.1.20")
    return parts


def _place(parts: SplitResult, brackets: bool = False) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if brackets and ":" in host else host
    return f"{parts.username}@{host}" if parts.username else host


def _ssh(parts: SplitResult, command: str) -> str:
    port = ["-p", str(parts.port)] if parts.port else []
    return _run(parts, ["ssh", *_OPTIONS, *port, _place(parts), command], command)


def _copy(parts: SplitResult, files: list[Path], folder: str) -> None:
    port = ["-P", str(parts.port)] if parts.port else []
    _run(parts, ["scp", "-q", *_OPTIONS, *port, *map(str, files), f"{_place(parts, True)}:{folder}/"], "scp")


def _run(parts: SplitResult, command: list[str], what: str) -> str:
    where = _place(parts)
    try:
        done = subprocess.run(  # noqa: S603  # the arguments are a list, and the host was checked
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60 * _MINUTES
        )
    except FileNotFoundError:
        raise MachineProblem(f"there is no {command[0]} here", hint="apt-get install openssh-client") from None
    except subprocess.TimeoutExpired:
        problem = f"{where}: no answer to {what!r} for {_MINUTES} minutes"
        raise MachineProblem(problem, hint="look at the device") from None
    if done.returncode == 0:
        return done.stdout
    said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
    if done.returncode == _NO_CONNECTION:
        hint = f"ssh {where} must work without a question: ssh-copy-id {where}, and connect once to accept its key"
        raise MachineProblem(f"{where} cannot be reached: {said}", hint=hint)
    if done.returncode == _NOT_FOUND:
        hint = f"pip install vedette there, so that ssh {where} vedette --version works"
        raise MachineProblem(f"{where}: {said}", hint=hint)
    raise MachineProblem(f"{where}: {what!r} failed: {said}", hint=f"try it by hand: ssh {where}")
