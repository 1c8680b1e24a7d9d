"""Reviews: what a person says about an event, kept beside the camera's state in `reviews.jsonl`.

The file only grows: one JSON object on each line, synced before `add` returns. Who changes a verdict adds a line; the
last one about an event counts. A line that a power cut left incomplete is skipped, and hides no other line.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ..atomic_file import make_private_folder, open_private, sync_folder
from ..errors import UNREADABLE, ConfigProblem, MachineProblem

log = logging.getLogger(__name__)

REVIEWS_FILE = "reviews.jsonl"
MAX_LINE_BYTES = 4096  # a longer line is damaged
EVENT_PATTERN = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"

Verdict = Literal["right", "false_alarm", "missed", "label"]


class Review(msgspec.Struct, frozen=True):
    """A person's verdict on one event."""

    event: Annotated[str, msgspec.Meta(pattern=EVENT_PATTERN)]
    """`Event.event`; the event's pictures have this name."""
    camera: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    verdict: Verdict
    """`missed`: the picture shows what the model should have reported. `label`: `label` is what it shows."""
    label: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Name of the class or of the defect; empty: none was given. Required if the verdict is `label`."""
    by: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Who judged; empty: not known."""
    time: float = 0.0
    """When, seconds since 1970, UTC."""


class ReviewStore:
    """The reviews of one camera.

    Args:
        folder: the camera's state folder, which holds `reviews.jsonl`; created by the first `add`
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / REVIEWS_FILE

    def add(self, review: Review) -> None:
        """Appends a review durably (fsync). Several processes may do so at once.

        Raises:
            ConfigProblem: a field of the review is not allowed; nothing was written.
            MachineProblem: the file cannot be written.
        """
        line = msgspec.json.encode(review) + b"\n"
        try:
            msgspec.json.decode(line, type=Review)
        except UNREADABLE as error:
            raise ConfigProblem(f"not a review: {error}", hint="docs/learning.md lists the verdicts") from None
        if review.verdict == "label" and not review.label:
            raise ConfigProblem("not a review: the verdict label names no label", hint="give the label")
        try:
            make_private_folder(self.path.parent)
            is_new = not self.path.exists()
            with open(self.path, "a+b", opener=open_private) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                size = file.seek(0, os.SEEK_END)
                if size:
                    file.seek(size - 1)
                    if file.read(1) != b"\n":  # a power cut left half a line
                        line = b"\n" + line
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                _sync_folder(self.path.parent)
        except OSError as error:
            hint = "free disk space, or correct the owner of the folder"
            raise MachineProblem(f"{self.path}: {error.strerror or error}", hint=hint) from None

    def latest(self) -> dict[str, Review]:
        """The last review of each event, by event; empty if there is none.

        Raises:
            MachineProblem: the file exists and cannot be read.
        """
        reviews: dict[str, Review] = {}
        damaged = 0
        try:
            with open(self.path, "rb") as file:
                while line := file.readline(MAX_LINE_BYTES):
                    try:
                        review = msgspec.json.decode(line, type=Review)
                    except UNREADABLE:
                        damaged += bool(line.strip())
                        continue
                    reviews[review.event] = review
        except FileNotFoundError:
            return {}
        except OSError as error:
            hint = "read it as the user that the service runs as, or as root"
            raise MachineProblem(f"{self.path}: {error.strerror or error}", hint=hint) from None
        if damaged:
            log.warning("%s: %d damaged lines are skipped", self.path, damaged)
        return reviews


def _sync_folder(folder: Path) -> None:
    try:
        sync_folder(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot
            raise
