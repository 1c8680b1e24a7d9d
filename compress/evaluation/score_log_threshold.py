"""The threshold from scores of the place where the model runs (`[data] score_log`): no image leaves the box.

Scores are only comparable if the same model gave them. A build of the same images and goal gives the same model file,
so the log's model is compared with what was built, by name and by the digest of the ONNX file.

Rows that a person called defective are left out. Alarms that nobody judged count as good parts: that can only raise the
threshold, so the bound on false alarms holds. Frames of one camera and day resemble each other and form a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from vedette.deploy.feedback.feedback import ScoreRow
from vedette.deploy.feedback.state_search import read_scores
from vedette.runtime.bundle.manifest import ModelOutput
from vedette.runtime.errors import ConfigProblem

from .conformal_threshold import AnomalyThreshold, choose_threshold

DEFECTIVE_VERDICTS = ("right", "missed", "label")
MIN_SCORES = 20


class ScoreLogThreshold(AnomalyThreshold, frozen=True, kw_only=True):
    """A threshold from scores of the box."""

    days: int
    unjudged_alarms: int
    """Alarms that nobody judged; they count as good parts."""
    image_score: float
    """The threshold that the images of the workshop would give."""

    @property
    def statement(self) -> str:
        """The guarantee in words."""
        text = super().statement.replace("good images", "scores of good parts on the box", 1)
        text = f"{text} Without the scores of the box the threshold would be {self.image_score:.3g}."
        if self.unjudged_alarms:
            count = self.unjudged_alarms
            text += (
                f" {count} of the scores {'is an alarm' if count == 1 else 'are alarms'} that nobody judged; as good "
                "parts they may raise the threshold. Judge them, and defects among them no longer count."
            )
        return text


class ScoreLog(msgspec.Struct, frozen=True):
    """The scores of a log file."""

    path: Path
    rows: tuple[ScoreRow, ...]

    def of_model(self, name: str, digest: str) -> list[ScoreRow]:
        """The rows of the model that was built, without those that a person called defective.

        Args:
            name: of the product
            digest: SHA-256 of the ONNX file, hexadecimal

        Raises:
            ConfigProblem: there are too few of them.
        """
        present = [row for row in self.rows if _is_of(row.model, name, digest)]
        if not present:
            others = ", ".join(sorted({row.model or "an unnamed model" for row in self.rows})[:3])
            raise ConfigProblem(
                f"{self.path}: its scores are of {others}; this build gives {name}:…:{digest[:8]}, whose scores mean "
                "something else",
                hint="build from the same images and goal as the release on the box, or leave data.score_log out and "
                "record scores of the new release",
            )
        good = [row for row in present if row.verdict not in DEFECTIVE_VERDICTS]
        if len(good) < MIN_SCORES:
            hint = f"let the box see at least {MIN_SCORES} good parts"
            raise ConfigProblem(f"{self.path}: only {len(good)} scores of good parts of this model", hint=hint)
        return good


def read_score_log(name: str | None, base: Path) -> ScoreLog | None:
    """The log file that the goal names, relative to `base`; None if it names none.

    Raises:
        ConfigProblem: the file has other columns, or no row.
        MachineProblem: it cannot be read.
    """
    if name is None:
        return None
    rows = read_scores(base / name)
    if not rows:
        raise ConfigProblem(f"{base / name}: no scores in it", hint="vedette feedback pull writes scores.csv")
    return ScoreLog(base / name, tuple(rows))


def choose_from_log(
    rows: Sequence[ScoreRow], image_score: float, output: ModelOutput, target: float
) -> ScoreLogThreshold:
    """The threshold of the logged scores, with the guarantee of a build.

    Args:
        rows: scores of good parts
        image_score: the threshold that the images of the workshop give
        output: the score of the model
        target: share of good parts that may raise an alarm
    """
    scores = np.rint(np.array([row.score for row in rows]) / output.scale) * output.scale
    groups = [(row.camera, _day(row)) for row in rows]
    threshold = choose_threshold(scores, output.scale, target, groups, output.highest)
    return ScoreLogThreshold(
        **msgspec.structs.asdict(threshold),
        days=len({day for _, day in groups}),
        unjudged_alarms=sum(row.alarm and not row.verdict for row in rows),
        image_score=image_score,
    )


def _is_of(model: str, name: str, digest: str) -> bool:
    """Whether a `Manifest.model_id` names this model, in any release, without a recalibration on the box."""
    parts = model.split(":")
    return len(parts) == 3 and parts[0] == name and parts[2] == digest[:8]


def _day(row: ScoreRow) -> str:
    seconds = row.seconds
    return row.time[:10] if seconds is None else datetime.fromtimestamp(seconds, UTC).date().isoformat()
