"""The thumbnails of events, for integrations that send pictures. Only a key of vedette.toml turns that on."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

from ..config.configuration import Config
from ..events.event import Attachment
from ..evidence.store import find_evidence

MEDIA_TYPES = {"jpeg": "image/jpeg", "webp": "image/webp"}


def read_thumbnail(settings: Config, evidence: Attachment | None) -> bytes | None:
    """The file of an event's thumbnail; None: the event has none, or it is deleted already."""
    if evidence is None:
        return None
    folder = settings.evidence.store_folder(settings.camera, settings.state_folder)
    path = find_evidence(folder, PurePosixPath(evidence.link).name)
    try:
        data = b"" if path is None else path.read_bytes()
    except OSError:  # moved or deleted at this moment
        return None
    return data if hashlib.sha256(data).hexdigest() == evidence.sha256 else None
