"""What viewers learn about the scores of the build."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vedette.runtime.calibration.good_scores import summarize
from vedette.runtime.live.workshop_scores import FILE_NAME, WorkshopScores, read_workshop_scores, write_workshop_scores


def test_is_read_as_it_was_written_and_replaced_by_the_next_model(tmp_path: Path) -> None:
    assert read_workshop_scores(tmp_path) is None
    good = summarize(np.linspace(0.1, 0.5, 60), 0.001, 2.0)
    for known in (WorkshopScores("a:1:x", 0.6, good), WorkshopScores("a:2:y", 0.7, None)):
        write_workshop_scores(tmp_path, known)
        assert read_workshop_scores(tmp_path) == known
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0


def test_a_damaged_file_is_none(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b'{"model": "a')
    assert read_workshop_scores(tmp_path) is None
