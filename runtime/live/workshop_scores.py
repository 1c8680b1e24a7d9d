"""What a bundle says about the scores of good parts, in a file beside the history of scores.

Viewers such as the page compare both. They could read it from the bundle, but to open one loads the libraries of
signatures, 9 MB of memory, and the daemon has verified it already.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..atomic_file import write_atomically
from ..calibration.good_scores import GoodScores
from ..errors import UNREADABLE

FILE_NAME = "workshop_scores.json"
_MAX_BYTES = 1 << 16


class WorkshopScores(msgspec.Struct, frozen=True):
    """The model that a camera runs, or ran last."""

    model: str
    """Its `model_id`, as in the history of scores."""
    threshold: float
    good: GoodScores | None
    """Scores of good images of the build, or of a recalibration; None: the bundle does not say."""


def write_workshop_scores(folder: Path, known: WorkshopScores) -> None:
    """Writes the file into a camera's state folder.

    Raises:
        ConfigProblem: the disk does not take it.
    """
    if known != read_workshop_scores(folder):
        write_atomically(folder / FILE_NAME, msgspec.json.encode(known), "free space on the disk", private=True)


def read_workshop_scores(folder: Path) -> WorkshopScores | None:
    """Reads the file; None: there is none, or it is damaged."""
    try:
        with open(folder / FILE_NAME, "rb") as file:
            return msgspec.json.decode(file.read(_MAX_BYTES), type=WorkshopScores)
    except (OSError, *UNREADABLE):
        return None
