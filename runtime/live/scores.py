"""The scores that a camera's daemon has kept, as viewers read them, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import MachineProblem
from ..events.event import format_rfc3339
from .score_blocks import ALARM, ALARM_WITHIN, ENTRY, read_blocks
from .score_history import FILE_NAME, SAMPLE_SECONDS

CSV_COLUMNS = ("time", "camera", "model", "score", "alarm")
_LONGEST_GAP = 600.0  # seconds between entries of a camera that is watched; in a longer gap it was not


class Scores(msgspec.Struct, frozen=True, eq=False):
    """Columns of n entries in the order in which they were recorded; each stands for SAMPLE_SECONDS of frames."""

    taken: NDArray[np.float64]
    """When the first frame of the entry was taken: seconds since 1970, UTC, as the clock was set then."""
    score: NDArray[np.float64]
    """Score of that frame: a sample for histograms."""
    alarm: NDArray[np.bool_]
    """Whether an event was open in that frame."""
    peak: NDArray[np.float64]
    """Highest score that lasted for the frames that the rule asked for; -inf: none did."""
    last: NDArray[np.float64]
    """Score of the entry's last frame."""
    alarm_within: NDArray[np.bool_]
    """Whether an event was open in any of the frames."""
    model: NDArray[np.int64]
    """Index into `models`."""
    models: tuple[str, ...]
    """`model_id` of each bundle that ran, with a recalibration's digest."""
    thresholds: tuple[float, ...]
    """The threshold of each of these."""

    def __len__(self) -> int:
        return len(self.taken)

    def select(self, mask: NDArray[np.bool_]) -> Scores:
        """The entries that the mask has."""
        columns = ("taken", "score", "alarm", "peak", "last", "alarm_within", "model")
        return msgspec.structs.replace(self, **{name: getattr(self, name)[mask] for name in columns})

    def of_model(self, model: str) -> Scores:
        """The entries of one model."""
        wanted = [index for index, name in enumerate(self.models) if name == model]
        return self.select(np.isin(self.model, wanted))

    def since(self, seconds: float) -> Scores:
        """The entries of the last seconds before the newest entry."""
        newest = float(self.taken[-1]) if len(self) else 0.0
        return self.select((self.taken > newest - seconds) & (self.taken <= newest))

    def watched_seconds(self) -> float:
        """For how long frames came: the time from entry to entry, gaps of more than ten minutes left out."""
        if not len(self):
            return 0.0
        gaps = np.diff(self.taken)
        return float(gaps[(gaps > 0) & (gaps <= _LONGEST_GAP)].sum()) + SAMPLE_SECONDS


def read_scores(folder: Path) -> Scores:
    """The scores of a camera; those that its daemon has not written yet (some minutes) are missing.

    Args:
        folder: the camera's state folder (`Config.state_folder`)

    Raises:
        MachineProblem: the file is there and cannot be read. Damaged parts of it are left out.
    """
    try:
        blocks = read_blocks(folder / FILE_NAME)
    except OSError as error:
        hint = "read it as the user of the daemon, or as root"
        raise MachineProblem(f"{folder / FILE_NAME}: {error.strerror}", hint=hint) from None
    kinds = sorted({(block.model, block.threshold) for block in blocks})
    indices = [np.full(len(block.entries), kinds.index((block.model, block.threshold))) for block in blocks]
    entries: NDArray[Any] = np.concatenate([np.zeros(0, ENTRY), *[block.entries for block in blocks]])
    return Scores(
        taken=entries["taken"],
        score=entries["score"],
        alarm=(entries["flags"] & ALARM) > 0,
        peak=entries["peak"],
        last=entries["last"].astype(np.float64),
        alarm_within=(entries["flags"] & ALARM_WITHIN) > 0,
        model=np.concatenate([np.zeros(0, np.int64), *indices]),
        models=tuple(model for model, _ in kinds),
        thresholds=tuple(threshold for _, threshold in kinds),
    )


def scores_as_csv(camera: str, scores: Scores) -> str:
    """The scores as CSV with a header: `time,camera,model,score,alarm`.

    `time` is RFC 3339 in UTC, `alarm` is 1 if an event was open in that frame, otherwise 0.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(_rows(camera, scores))
    return text.getvalue()


def _rows(camera: str, scores: Scores) -> Iterable[tuple[str, str, str, str, int]]:
    for taken, model, score, alarm in zip(scores.taken, scores.model, scores.score, scores.alarm, strict=True):
        yield format_rfc3339(float(taken)), camera, scores.models[model], f"{score:.6g}", int(alarm)
