"""The history of scores: kept over restarts, bounded, cheap for the disk, and never more important than the daemon."""

from __future__ import annotations

import csv
import io
import stat

import numpy as np
import pytest

from vedette.runtime.camera.frame import FrameTime
from vedette.runtime.live import score_history
from vedette.runtime.live.score_blocks import BLOCK_BYTES, BLOCKS, ENTRIES, ScoreBlock, decode_block, read_blocks
from vedette.runtime.live.score_history import FILE_NAME, SAMPLE_SECONDS, ScoreHistory
from vedette.runtime.live.scores import read_scores, scores_as_csv

START = 1_700_000_000.0
MODEL = "weave:1:ab"


def record(folder, scores, start=0.0, step=SAMPLE_SECONDS, model=MODEL, debounce=1, alarms=(), close=True):
    """A run of the daemon that sees one score in each `step` seconds."""
    history = ScoreHistory(folder, model, 3.0, debounce)
    for number, score in enumerate(scores):
        moment = start + number * step
        history.add(FrameTime(START + moment, moment), score, number in alarms)
    if close:
        history.close()
    return history


def test_scores_of_several_runs_are_kept_in_order(tmp_path):
    record(tmp_path, [1.0, 2.0, 3.5], alarms={2})
    record(tmp_path, [0.1, 0.2], start=1000)
    record(tmp_path, [7.0], start=2000, model="weave:2:cd")
    scores = read_scores(tmp_path)
    assert scores.score.tolist() == [1.0, 2.0, 3.5, 0.1, 0.2, 7.0]
    assert scores.alarm.tolist() == [False, False, True, False, False, False]
    assert (scores.taken - START).tolist() == [0, 5, 10, 1000, 1005, 2000]
    assert [scores.models[index] for index in scores.model] == [MODEL] * 5 + ["weave:2:cd"]
    assert len(read_blocks(tmp_path / FILE_NAME)) == 2, "the second run goes on in the block of the first"
    assert scores.of_model(MODEL).score.tolist() == [1.0, 2.0, 3.5, 0.1, 0.2]
    assert scores.since(1100).score.tolist() == [0.1, 0.2, 7.0]
    assert scores.watched_seconds() == 10 + 5 + SAMPLE_SECONDS, "gaps do not count"


def test_entry_has_the_first_and_the_highest_score_of_its_seconds(tmp_path):
    record(tmp_path, [1.0, 4.0, 2.0, 1.5, 1.6, 0.5], step=1.0, alarms={1, 5})
    scores = read_scores(tmp_path)
    assert (scores.score.tolist(), scores.peak.tolist()) == ([1.0, 0.5], [4.0, 0.5])
    np.testing.assert_allclose(scores.last, [1.6, 0.5], rtol=1e-6)
    assert (scores.alarm.tolist(), scores.alarm_within.tolist()) == ([False, True], [True, True])


def test_peak_lasts_for_the_frames_that_the_rule_asks_for(tmp_path):
    record(tmp_path, [1.0, 9.0, 1.0, 4.0, 5.0, 6.0, 2.0], step=1.0, debounce=2)
    assert read_scores(tmp_path).peak.tolist() == [4.0, 5.0]


def test_a_clock_that_goes_back_and_scores_that_are_no_numbers_do_no_harm(tmp_path):
    record(tmp_path, [1.0, float("nan"), 2.0, float("inf"), 3.0], step=-1.0)
    assert read_scores(tmp_path).score.tolist() == [1.0, 2.0, 3.0]


def test_file_is_bounded_and_loses_the_oldest(tmp_path):
    total = (BLOCKS + 3) * ENTRIES
    record(tmp_path, np.arange(total, dtype=float))
    assert (tmp_path / FILE_NAME).stat().st_size == BLOCKS * BLOCK_BYTES < 700_000
    scores = read_scores(tmp_path)
    assert 20_000 - ENTRIES <= len(scores) <= BLOCKS * ENTRIES
    assert scores.score.tolist() == list(range(total - len(scores), total))
    record(tmp_path, [-1.0], start=1e9)
    assert read_scores(tmp_path).score[-1] == -1.0


def test_a_day_of_scores_writes_little(tmp_path, monkeypatch):
    """Batched: a page every five minutes and one more when it is full, of a camera with ten frames a second."""
    clock = [0.0]
    monkeypatch.setattr(score_history.time, "monotonic", lambda: clock[0])
    history = ScoreHistory(tmp_path, MODEL, 3.0)
    seconds = 6 * 3600
    for number in range(seconds):
        clock[0] = float(number)
        history.add(FrameTime(START + number, number), 1.0, False)
    history.close()
    assert seconds / SAMPLE_SECONDS == len(read_scores(tmp_path))
    assert history.written < 2_000_000 * seconds / 86_400
    assert history.written / BLOCK_BYTES == pytest.approx(seconds / 300 + seconds / SAMPLE_SECONDS / ENTRIES, rel=0.3)


def test_a_killed_daemon_loses_minutes_only(tmp_path):
    record(tmp_path, np.arange(ENTRIES + 10.0), close=False)
    assert len(read_scores(tmp_path)) == ENTRIES


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"\xff" * BLOCK_BYTES, b"VDTSCOR1" + b"\x01" * 9000])
def test_damaged_file_ends_nothing(tmp_path, damage):
    (tmp_path / FILE_NAME).write_bytes(damage)
    record(tmp_path, [1.0, 2.0])
    assert read_scores(tmp_path).score.tolist() == [1.0, 2.0]


def test_damaged_block_costs_its_own_scores(tmp_path):
    record(tmp_path, np.arange(5.0 * ENTRIES))
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek(3 * BLOCK_BYTES + 1000)
        file.write(b"\x55")
    assert len(read_scores(tmp_path)) == 4 * ENTRIES
    record(tmp_path, [9.0], start=1e6)
    assert read_scores(tmp_path).score[-1] == 9.0


def test_any_byte_that_changes_invalidates_a_block():
    entries = np.zeros(3, score_history.ENTRY)
    content = ScoreBlock(5, MODEL, 3.0, 1, entries).encode()
    assert decode_block(content).sequence == 5
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 300):
        changed = bytearray(content)
        changed[place] ^= 1 << rng.integers(0, 8)
        assert decode_block(bytes(changed)) is None


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to(path.parent / "other")])
def test_a_file_that_takes_nothing_is_logged_once(tmp_path, caplog, make):
    make(tmp_path / FILE_NAME)
    history = record(tmp_path, np.arange(3.0 * ENTRIES))
    assert history.written == 0
    assert caplog.text.count("the scores are not kept") == 1
    assert not (tmp_path / "other").exists()


def test_file_is_private(tmp_path):
    record(tmp_path, [1.0])
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_csv_has_the_columns_that_were_promised(tmp_path):
    record(tmp_path, [1.23456789, 3.0], alarms={1})
    assert scores_as_csv("door", read_scores(tmp_path)) == (
        "time,camera,model,score,alarm\n"
        "2023-11-14T22:13:20.000Z,door,weave:1:ab,1.23457,0\n"
        "2023-11-14T22:13:25.000Z,door,weave:1:ab,3,1\n"
    )
    assert list(csv.reader(io.StringIO(scores_as_csv("door", read_scores(tmp_path / "nobody"))))) == [
        ["time", "camera", "model", "score", "alarm"]
    ]
