"""The table `[evidence]` of a camera's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from .credentials import resolve_credential_path

_MIB = 1 << 20


class EvidenceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[evidence]`: thumbnails and clips of events. Off unless `thumbnail` or `clip_seconds` is set."""

    thumbnail: Literal["", "jpeg", "webp"] = ""
    """Image format of an event's thumbnail; empty: no thumbnail."""
    max_bytes: Annotated[int, msgspec.Meta(ge=2048, le=16 * _MIB)] = 32768
    """Largest size of one thumbnail."""
    margin: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.2
    """Margin around the event's box, as a fraction of its width and height."""
    clip_seconds: Annotated[float, msgspec.Meta(ge=0, le=120)] = 0.0
    """Length of the clip around the start of an event, half of it before; 0: no clip."""
    clip_memory: Annotated[int, msgspec.Meta(ge=_MIB)] = 32 * _MIB
    """Bytes of memory for frames that may become a clip; the oldest are dropped first."""
    blur: Literal["", "people", "surroundings"] = ""
    """What is pixelated: boxes labeled `person`, or everything outside the boxes."""
    folder: str = ""
    """The files lie in FOLDER/CAMERA; empty: in the folder `evidence` of the camera's state folder."""
    quota: Annotated[int, msgspec.Meta(ge=65536)] = 256 * _MIB
    """Maximum size of all files in bytes; the oldest files are deleted first."""
    days: Annotated[float, msgspec.Meta(gt=0, le=3650)] = 30.0
    """Files are deleted after so many days, uploaded or not."""
    url: str = ""
    """URL to which files are uploaded by HTTP PUT, for example https://host/bucket; empty: no upload."""
    access_key: str = ""
    secret_key_file: str = ""
    """File with the secret key of `access_key`, for an S3-compatible store that requires signed requests."""
    region: str = "us-east-1"

    def __post_init__(self) -> None:
        if bool(self.access_key) != bool(self.secret_key_file):
            raise ValueError("access_key and secret_key_file go together")
        if not self.url:
            return
        form = "url is not of the form https://host/bucket; keys go to access_key and secret_key_file"
        try:  # messages of the standard library would quote a password
            parts = urlsplit(self.url)
            is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            raise ValueError(form) from None
        if not is_valid or "@" in self.url:
            raise ValueError(form)

    @property
    def is_enabled(self) -> bool:
        """True if thumbnails or clips are configured."""
        return bool(self.thumbnail or self.clip_seconds)

    def store_folder(self, camera: str, state_folder: Path) -> Path:
        """The folder of a camera's files.

        Args:
            camera: its name
            state_folder: its folder of persistent state
        """
        return Path(self.folder, camera) if self.folder else state_folder / "evidence"

    def with_absolute_paths(self, base: Path) -> EvidenceSettings:
        """Returns the settings with absolute paths; relative ones start from the folder `base`."""
        return msgspec.structs.replace(
            self,
            folder=str(base / self.folder) if self.folder else "",
            secret_key_file=resolve_credential_path(self.secret_key_file, base),
        )
