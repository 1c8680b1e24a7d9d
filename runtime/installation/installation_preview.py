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
    threshold: float
    """Score from which it raises an alarm, where a rule has no threshold of its own."""
    threshold_before: float | None
    """That of the current release; None: there is none, or it cannot be read."""
    max_ms: float | None
    """Most milliseconds of 95 % of the frames on probation, by the goal of its build; None: by the release before."""
    rolled_back: str
    """Why the device left this release the last time; empty: it did not."""
