"""What an installation would change, as `vedette install --check` tells it; light enough for the page to read."""

from __future__ import annotations

import msgspec


class InstallationPreview(msgspec.Struct, frozen=True):
    """What an installation would change."""

    name: str
    release: int
    signer: str
    """ID of the key that signed it."""
    key_file: str
    """File of that key among the trusted ones."""
    review: str
    """As `Installation.review`."""
    cameras: tuple[str, ...]
    """Those that will run it, within seconds if their daemons run."""
    current: int | None
    """The release that runs now; None: the product is not installed."""
    previous: int | None
    """The release that a rollback would take afterwards; None: there would be none."""
    removed: tuple[int, ...]
    """Releases that would be deleted."""
    is_return: bool
    """It is the release before of one on probation, so that this is a rollback."""
