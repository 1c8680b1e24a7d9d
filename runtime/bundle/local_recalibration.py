"""A recalibration that is kept on the device, beside the bundle: `cells.recalibration.json` beside `cells.vedette`.

It is not signed. It can only move the threshold and the score's offset, as the settings of the rules can, and it is
never silent: the model's name in every event, in the status and in the log ends in `+recalibrated` and its digest. It
belongs to one signed manifest; if the bundle is another one, it is ignored with a warning.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import msgspec

from ..atomic_file import write_atomically
from ..calibration.recalibration import Recalibration
from ..errors import UNREADABLE, ConfigProblem, MachineProblem
from .bundle import Bundle
from .keys import Keyring
from .recalibration_file import recalibration_path

log = logging.getLogger(__name__)

WRITE_HINT = "run it as the owner of that folder, or free some disk space"


class LocalRecalibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the file."""

    model: str
    """`Manifest.model_id` of the bundle, for people."""
    manifest_sha256: str
    """Digest of the bundle's signed manifest."""
    recalibration: Recalibration


def open_bundle(path: Path, keyring: Keyring) -> Bundle:
    """Opens the bundle at `path`, with the recalibration that lies beside it.

    Raises:
        BundleProblem: as `Bundle.open`.
        ConfigProblem: the file of the recalibration cannot be read.
    """
    return apply_recalibration(Bundle.open(path, keyring))


def apply_recalibration(bundle: Bundle) -> Bundle:
    """The bundle with the recalibration that lies beside it; the bundle itself if there is none for it.

    Raises:
        ConfigProblem: the file of the recalibration cannot be read.
    """
    file = recalibration_path(bundle.path)
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return bundle
    except OSError as error:
        raise ConfigProblem(f"{file}: {error.strerror}", hint="make it readable for this user") from None
    try:
        local = msgspec.json.decode(text, type=LocalRecalibration)
    except UNREADABLE as error:
        hint = f"remove it with vedette recalibrate {bundle.path} --reset"
        raise ConfigProblem(f"{file}: not a recalibration: {error}", hint=hint) from None
    if local.manifest_sha256 != bundle.manifest_sha256:
        log.warning("%s is ignored: it belongs to another bundle, %s", file, local.model)
        return bundle
    manifest = msgspec.structs.replace(
        bundle.manifest,
        threshold=local.recalibration.threshold,
        recalibrated=local.recalibration,
        local_digest=hashlib.sha256(text).hexdigest()[:8],
    )
    log.warning("%s: %s", manifest.model_id, local.recalibration.statement)
    return Bundle(bundle.path, manifest, bundle.members, bundle.manifest_sha256)


def write_recalibration(bundle: Bundle, recalibration: Recalibration) -> Path:
    """Keeps a recalibration beside the bundle; returns the path of its file.

    Raises:
        MachineProblem: the file cannot be written.
    """
    local = LocalRecalibration(bundle.manifest.model_id, bundle.manifest_sha256, recalibration)
    path = recalibration_path(bundle.path)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(local), indent=2) + b"\n", WRITE_HINT)
    return path


def remove_recalibration(bundle: Path) -> bool:
    """Removes the file of the bundle at `bundle`; False if there is none.

    Raises:
        MachineProblem: it cannot be removed.
    """
    path = recalibration_path(bundle)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise MachineProblem(f"{path}: {error.strerror}", hint="run it as the owner of that folder") from None
    return True
