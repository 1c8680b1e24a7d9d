"""What a box tells the workshop: judged events with their pictures, and scores."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import msgspec

from vedette.runtime.evidence.reviews import Review

PICTURE_SUFFIXES = (".jpg", ".webp")
MAX_PICTURE_BYTES = 16 << 20  # as `evidence.max_bytes`
MAX_SECONDS = 2.0**37
"""Of times, since 1970; about the year 6300."""
SCORE_COLUMNS = ("time", "camera", "model", "score", "alarm")
FOLDER_NAME = re.compile(r"[^\w.-]+")


class JudgedEvent(msgspec.Struct, frozen=True):
    """An event with what a person said of it. Fields of an event that the box no longer has are empty."""

    review: Review
    day: str
    """UTC day on which the event began, like `2026-11-29`."""
    started: float = 0.0
    """When it began, seconds since 1970; 0: not known."""
    ended: float = 0.0
    """Its last message, seconds since 1970; 0: not known."""
    model: str = ""
    """`Manifest.model_id`."""
    score: float | None = None
    """Score of the frame in which it began."""
    whole: Literal["", "yes", "no"] = ""
    """Whether the picture shows the whole frame; empty: not known."""


class ScoreRow(msgspec.Struct, frozen=True):
    """The score of one frame."""

    time: str
    """Seconds since 1970 or RFC 3339, as the box wrote it."""
    camera: str
    model: str
    score: float
    alarm: bool
    verdict: str = ""
    """What a person said of its event; empty: nothing."""

    @property
    def seconds(self) -> float | None:
        """`time` in seconds since 1970; None if it cannot be read."""
        try:
            seconds = float(self.time)
        except ValueError:
            try:
                seconds = datetime.fromisoformat(self.time).timestamp()
            except (ValueError, OverflowError):
                return None
        return seconds if 0 <= seconds < MAX_SECONDS else None


class Feedback(msgspec.Struct, frozen=True):
    """All that was found at one place."""

    events: tuple[JudgedEvent, ...]
    pictures: dict[str, tuple[str, bytes]]
    """Event -> suffix and content of its picture; only judged events, and not all of them."""
    scores: tuple[ScoreRow, ...] = ()


def day_of_event(event: str) -> str:
    """The UTC day in which the id of an event, a UUIDv7, was made; a day of 1970 if it tells none."""
    seconds = (UUID(event).int >> 80) / 1000
    return datetime.fromtimestamp(seconds if seconds < MAX_SECONDS else 0, UTC).date().isoformat()


def safe_name(text: str) -> str:
    """A label or a camera as the name of a folder: no separators, and no hidden folder."""
    return FOLDER_NAME.sub("_", text).strip("._") or "_"
