"""What a person may say about evidence: `[evidence]` in the camera's file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

_MIB = 1 << 20


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[evidence]`. Off unless a thumbnail or a clip is asked for."""

    thumbnail: Literal["", "jpeg", "webp"] = ""
    """What the picture of an event is written as; empty: there is none."""
    max_bytes: Annotated[int, msgspec.Meta(ge=2048, le=16 * _MIB)] = 32768
    """Of one thumbnail, at most."""
    margin: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.2
    """How much around the event's box is shown, as a share of its width and height."""
    clip_seconds: Annotated[float, msgspec.Meta(ge=0, le=120)] = 0.0
    """Length of the clip about the beginning of an event, half of it before; 0: there is none."""
    clip_memory: Annotated[int, msgspec.Meta(ge=_MIB)] = 32 * _MIB
    """Bytes of memory for the pictures that may become a clip; the oldest give way."""
    blur: Literal["", "people", "surroundings"] = ""
    """What is made unrecognisable: boxes of `person`, or all outside of the boxes seen."""
    folder: str = ""
    """Where it is kept, below the camera's name; empty: `evidence` in the camera's state folder."""
    quota: Annotated[int, msgspec.Meta(ge=65536)] = 256 * _MIB
    """Bytes of all that is kept; the oldest gives way."""
    days: Annotated[float, msgspec.Meta(gt=0, le=3650)] = 30.0
    """After so many it is deleted, uploaded or not."""
    url: str = ""
    """Where it is uploaded by HTTP PUT, as https://host/bucket; empty: it stays."""
    access_key: str = ""
    secret_key_file: str = ""
    """Of an S3-compatible store, which wants its requests signed."""
    region: str = "us-east-1"

    def __post_init__(self) -> None:
        if bool(self.access_key) != bool(self.secret_key_file):
            raise ValueError("access_key and secret_key_file go together")
        if not self.url:
            return
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ValueError("url is not of the form https://host/bucket; keys go to access_key and secret_key_file")

    @property
    def wanted(self) -> bool:
        return bool(self.thumbnail or self.clip_seconds)

    def placed(self, base: Path, place: Callable[[str, Path], str]) -> Evidence:
        """The same with absolute paths; `place` knows where a secret lies."""
        return msgspec.structs.replace(
            self,
            folder=str(base / self.folder) if self.folder else "",
            secret_key_file=place(self.secret_key_file, base) if self.secret_key_file else "",
        )
