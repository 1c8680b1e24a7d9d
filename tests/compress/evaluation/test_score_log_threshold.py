"""Scores of the box set the threshold: of the right model only, without defects, with whole days as groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vedette.compress.evaluation.score_log_threshold import ScoreLog, choose_from_log, read_score_log
from vedette.deploy.feedback.feedback import ScoreRow
from vedette.runtime.bundle.manifest import ModelOutput
from vedette.runtime.errors import ConfigProblem

OUTPUT = ModelOutput(name="score", shape=(1,), scale=0.01, zero_point=0)
DIGEST = "0123456789abcdef"
MODEL = "weave:4:01234567"


def row(score: float, model: str = MODEL, day: int = 1, alarm: bool = False, verdict: str = "") -> ScoreRow:
    return ScoreRow(f"2026-11-{day:02}T10:00:00Z", "door", model, score, alarm, verdict)


def test_threshold_keeps_the_budget_on_the_scores_of_the_box() -> None:
    rng = np.random.default_rng(0)
    scores = rng.gamma(4, 0.2, 4000)
    rows = [row(float(score), day=1 + number % 28) for number, score in enumerate(scores[:2000])]
    chosen = choose_from_log(rows, 9.0, OUTPUT, 0.05)
    assert chosen.days == 28
    assert chosen.rate_bound <= 0.05
    assert 0.02 < (scores[2000:] >= chosen.score).mean() <= 0.05
    assert "scores of good parts on the box" in chosen.statement
    assert "would be 9" in chosen.statement


def test_defects_do_not_count_and_alarms_that_nobody_judged_do() -> None:
    good = [row(1.0 + number / 1000, day=1 + number % 20) for number in range(400)]
    defects = [row(5.0, verdict=verdict, alarm=True) for verdict in ("right", "missed", "label")] * 50
    open_alarms = [row(5.0, alarm=True)] * 50
    log = ScoreLog(Path("scores.csv"), (*good, *defects))
    assert choose_from_log(log.of_model("weave", DIGEST), 0.0, OUTPUT, 0.05).score < 1.5
    log = ScoreLog(Path("scores.csv"), (*good, *defects, *open_alarms))
    chosen = choose_from_log(log.of_model("weave", DIGEST), 0.0, OUTPUT, 0.05)
    assert chosen.score > 5
    assert chosen.unjudged_alarms == 50
    assert "nobody judged" in chosen.statement


@pytest.mark.parametrize(
    "model", ["weave:4:76543210", "other:4:01234567", "weave:4:01234567+recalibrated.0abc", "", "weave"]
)
def test_scores_of_another_model_are_refused_with_the_reason(model: str) -> None:
    log = ScoreLog(Path("scores.csv"), tuple(row(1.0, model) for _ in range(100)))
    with pytest.raises(ConfigProblem, match="01234567, whose scores mean something else"):
        log.of_model("weave", DIGEST)
    mixed = ScoreLog(log.path, (*log.rows, *(row(1.0) for _ in range(30))))
    assert len(mixed.of_model("weave", DIGEST)) == 30


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    assert read_score_log(None, tmp_path) is None
    (tmp_path / "s.csv").write_text("time,score\n1,2\n")
    with pytest.raises(ConfigProblem, match="no column camera, model, alarm"):
        read_score_log("s.csv", tmp_path)
    (tmp_path / "s.csv").write_text("time,camera,model,score,alarm\n")
    with pytest.raises(ConfigProblem, match="no scores"):
        read_score_log("s.csv", tmp_path)
    (tmp_path / "s.csv").write_text(f"time,camera,model,score,alarm\n1,door,{MODEL},0.5,0\n")
    log = read_score_log("s.csv", tmp_path)
    assert log is not None
    with pytest.raises(ConfigProblem, match="only 1 scores"):
        log.of_model("weave", DIGEST)
