"""The highest release that ran: an older one is refused, unless its signer permits the step back.

Old bundles keep their valid signature. Without this memory, whoever can replace the file could bring back a release
whose faults are known. The file `releases.json` in the camera's state folder holds the highest release of each product
that ran there. A bundle may go back if its signed manifest says from which release on (`downgrade_from`), which
`vedette keys permit` signs.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from ..atomic_file import write_atomically
from ..errors import BundleProblem, MachineProblem
from .bundle import Bundle
from .keys import Keyring
from .local_recalibration import open_bundle
from .manifest import Manifest

log = logging.getLogger(__name__)

FILE_NAME = "releases.json"


def open_bundle_to_run(path: Path, keys: Path | None, state: Path) -> Bundle:
    """Opens the bundle that a camera's daemon runs, with the recalibration that lies beside it.

    Args:
        path: the bundle
        keys: folder of the trusted keys; None: those of this machine
        state: the camera's state folder

    Raises:
        BundleProblem: as `Bundle.open`; or a higher release ran here, and the bundle may not replace it.
        ConfigProblem: the keyring or the recalibration cannot be read.
    """
    bundle = open_bundle(path, Keyring.read(keys))
    check_release(bundle, state)
    return bundle


def check_release(bundle: Bundle, state: Path) -> None:
    """Checks that a camera may run a bundle.

    Args:
        bundle: the bundle
        state: the camera's state folder

    Raises:
        BundleProblem: a higher release ran here, and the bundle may not replace it.
    """
    manifest, highest = bundle.manifest, _read_releases(state).get(bundle.manifest.name, 0)
    if manifest.release >= highest:
        return
    if manifest.downgrade_from is not None and highest <= manifest.downgrade_from:
        log.warning("release %d replaces %d: its signer permits it", manifest.release, highest)
        return
    hint = f"build a release above {highest}; or let the signer permit it: vedette keys permit BUNDLE --from {highest}"
    raise BundleProblem(
        f"{bundle.path}: release {manifest.release} of {manifest.name}, but {highest} ran here", hint=hint
    )


def remember_release(manifest: Manifest, state: Path) -> None:
    """Keeps the release if it is higher than those before; a state folder that cannot be written only warns."""
    releases = _read_releases(state)
    if manifest.release <= releases.get(manifest.name, 0):
        return
    releases[manifest.name] = manifest.release
    try:
        write_atomically(state / FILE_NAME, msgspec.json.encode(releases) + b"\n", "")
    except MachineProblem as problem:
        log.warning("the release is not remembered, so an older one could follow: %s", problem.message)


def allow_return(name: str, release: int, state: Path) -> None:
    """Lets a camera run the release that it ran before a higher one: for a rollback, which its user asked for.

    Raises:
        MachineProblem: the file cannot be written.
    """
    releases = _read_releases(state)
    if releases.get(name, 0) > release:
        releases[name] = release
        write_atomically(state / FILE_NAME, msgspec.json.encode(releases) + b"\n", "run the command as root (sudo)")


def _read_releases(state: Path) -> dict[str, int]:
    """The highest release by product; empty if there is no file, and if it is damaged, with a warning."""
    path = state / FILE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        log.warning("%s is not readable, so an older release could follow: %s", path, error)
        return {}
