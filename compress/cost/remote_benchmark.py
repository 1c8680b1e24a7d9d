"""Benchmark of the built models on the real device, over SSH.

The models are packed as a bundle of their own, signed like the finished one, and copied with the public key into a new
folder on the device. `vedette bench` measures the bundle there, and the folder is removed. Nothing else on the device
changes. The OpenSSH client of this machine is used with its own configuration and agent, and without prompts
(BatchMode).
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

from vedette.devices import DeviceProfile, decode_benchmark_profile
from vedette.runtime.bundle.manifest import Manifest
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.plugin_tables import split_url

from ..export import bundle_writer

_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=15")
_TIMEOUT_MINUTES = 15
_SSH_FAILED = 255  # exit code of ssh itself; all others come from the remote command
_COMMAND_NOT_FOUND = 127


def check_device(url: str) -> None:
    """Check before a long build that the URL is valid and that `vedette` runs on the device.

    Raises:
        ConfigProblem: the URL does not have the form ssh://user@host.
        MachineProblem: the device cannot be reached, or has no `vedette`.
    """
    _ssh(_parse_url(url), "vedette --version")


def run_remote_benchmark(
    url: str, manifest: Manifest, members: dict[str, bytes], key: Ed25519PrivateKey
) -> DeviceProfile:
    """Run `vedette bench` on the device and return the measured profile.

    Args:
        url: ssh://user@host, with :port if needed
        manifest: the manifest so far
        members: files of the bundle: models and golden outputs
        key: private key that signs the bundle

    Raises:
        ConfigProblem: the URL is not valid.
        MachineProblem: the device cannot be reached, or the benchmark fails.
    """
    parts = _parse_url(url)
    _, data = bundle_writer.sign_bundle(manifest, members, key)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    remote_folder = _ssh(parts, "mktemp -d").strip()
    if not remote_folder.startswith("/"):
        hint = "make sure that the login shell of the device prints nothing"
        raise MachineProblem(f"{url}: mktemp -d made no folder, it printed {remote_folder!r}", hint=hint)
    try:
        with tempfile.TemporaryDirectory() as folder:
            bundle, trusted = Path(folder, "candidate.vedette"), Path(folder, "workshop.pub")
            bundle.write_bytes(data)
            trusted.write_bytes(public)
            _copy(parts, [bundle, trusted], remote_folder)
        output = _ssh(parts, f"vedette bench '{remote_folder}/candidate.vedette' --keys '{remote_folder}' --json")
    finally:
        with contextlib.suppress(MachineProblem):  # an earlier error is more useful
            _ssh(parts, f"rm -rf -- '{remote_folder}'")
    try:
        return decode_benchmark_profile(output.encode())
    except msgspec.MsgspecError as error:
        hint = "install the same version of vedette on the device"
        raise MachineProblem(f"{url}: vedette bench printed no device profile ({error})", hint=hint) from None


def _parse_url(url: str) -> SplitResult:
    parts = split_url(url, "--on")
    try:
        invalid = parts.scheme != "ssh" or not parts.hostname or parts.path not in ("", "/") or parts.port == 0
    except ValueError:
        invalid = True
    if invalid or (parts.hostname or "").startswith("-") or (parts.username or "").startswith("-") or parts.password:
        hint = "for example --on ssh://pi@192.168.1.20"
        raise ConfigProblem(f"--on {url}: not of the form ssh://user@host", hint=hint)
    return parts


def _ssh_address(parts: SplitResult, brackets: bool = False) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if brackets and ":" in host else host
    return f"{parts.username}@{host}" if parts.username else host


def _ssh(parts: SplitResult, command: str) -> str:
    port = ["-p", str(parts.port)] if parts.port else []
    return _run(parts, ["ssh", *_OPTIONS, *port, _ssh_address(parts), command], command)


def _copy(parts: SplitResult, files: list[Path], folder: str) -> None:
    port = ["-P", str(parts.port)] if parts.port else []
    _run(parts, ["scp", "-q", *_OPTIONS, *port, *map(str, files), f"{_ssh_address(parts, True)}:{folder}/"], "scp")


def _run(parts: SplitResult, command: list[str], description: str) -> str:
    address = _ssh_address(parts)
    try:
        result = subprocess.run(  # noqa: S603  # the arguments are a list, and the host was checked
            command,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=60 * _TIMEOUT_MINUTES,
        )
    except FileNotFoundError:
        raise MachineProblem(f"{command[0]} is not installed", hint="apt-get install openssh-client") from None
    except subprocess.TimeoutExpired:
        problem = f"{address}: no answer to {description!r} for {_TIMEOUT_MINUTES} minutes"
        raise MachineProblem(problem, hint="check the device") from None
    if result.returncode == 0:
        return result.stdout
    error = " ".join(result.stderr.split()) or f"exit code {result.returncode}"
    if result.returncode == _SSH_FAILED:
        hint = f"ssh {address} must work without a prompt: ssh-copy-id {address}, and connect once to accept its key"
        raise MachineProblem(f"{address} cannot be reached: {error}", hint=hint)
    if result.returncode == _COMMAND_NOT_FOUND:
        hint = f"pip install vedette on the device, so that ssh {address} vedette --version works"
        raise MachineProblem(f"{address}: {error}", hint=hint)
    raise MachineProblem(f"{address}: {description!r} failed: {error}", hint=f"try it by hand: ssh {address}")
