"""The last change of a camera's file, if the page made it, and the way back to the file from before."""

from __future__ import annotations

import hashlib
import time

import msgspec

from ..config.configuration import Config
from ..installation.camera_bundle import last_good_file
from ..installation.configuration.change_requests import read_last_applied


class PageUndo(msgspec.Struct, frozen=True):
    """A change that can be taken back."""

    present: str
    """Text of the file, as the page's change left it."""
    before: str
    """Text of the file before that change."""
    time: str
    """When it was applied, in the device's time zone."""


def find_undo(config: Config) -> PageUndo | None:
    """What the page can take back; None: somebody else changed the file last, or nothing is kept.

    Both the file and `NAME.toml.last` must be those of the page's last applied request, by their SHA-256.
    """
    result = read_last_applied(config.state, config.camera)
    if result is None or result.origin != "page" or result.before == result.digest:
        return None
    try:
        present, before = config.camera_file.read_bytes(), last_good_file(config.camera_file).read_bytes()
        if (_digest(present), _digest(before)) != (result.digest, result.before):
            return None
        applied = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(result.time))
        return PageUndo(present.decode("utf-8-sig"), before.decode("utf-8-sig"), applied)
    except (OSError, UnicodeDecodeError):
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
