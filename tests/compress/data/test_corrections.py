"""Corrections join a split: days never straddle, the other images stay where they are, and copies are left out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from vedette.compress.data.corrections import CorrectedSplit, is_kept_aside, join_corrections
from vedette.compress.data.split import Split
from vedette.compress.goal.goal_tables import DataSettings
from vedette.deploy.feedback.corrections_folder import TABLE, Correction, render_table
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.progress import no_log

DATA = DataSettings(good="good", corrections="corrections")


def write_image(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC))
    return path


def make_split(base: Path, few: bool = False) -> Split:
    parts = {
        part: [write_image(base / "good" / f"{part}{number}.png", hash_of(part) + number) for number in range(3)]
        for part in ("fit", "calibrate", "threshold", "test")
    }
    defect = [write_image(base / "defect" / f"{number}.png", 700 + number) for number in range(2)]
    groups = {path: path.name for paths in parts.values() for path in paths}
    return Split(**parts, defect=defect, masks={}, groups=groups, few=few)  # type: ignore[arg-type]


def hash_of(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:4], 16)


def write_corrections(base: Path, rows: list[tuple[str, str, int]], whole: str = "yes", label: str = "") -> list[Path]:
    """Corrections, each with its day, its verdict and the seed of its picture."""
    folder, found = base / "corrections", []
    for number, (day, verdict, seed) in enumerate(rows):
        path = write_image(folder / verdict / f"{number}.jpg", seed)
        name = path.relative_to(folder).as_posix()
        found.append(Correction(name, f"e{number}", "door", day, "m", "1", verdict, label, "kim", "0", whole, ""))
    (folder / TABLE).write_bytes(render_table(found))
    return [folder / row.file for row in found]


def test_days_take_turns_and_the_other_images_stay(tmp_path: Path) -> None:
    split = make_split(tmp_path)
    days = [f"2026-11-{day:02}" for day in range(1, 9)]
    verdicts = ("false_alarm", "right", "missed")
    rows = [(day, verdict, 1000 + 10 * i + j) for i, day in enumerate(days) for j, verdict in enumerate(verdicts)]
    paths = write_corrections(tmp_path, rows)
    joined = join_corrections(split, DATA, tmp_path, no_log)
    assert isinstance(joined, CorrectedSplit)
    for part in ("calibrate", "threshold", "test", "defect"):
        assert getattr(joined, part) == getattr(split, part)  # no correction is a fair sample of good parts
    aside = {day for index, day in enumerate(days) if is_kept_aside(index)}
    assert aside == {"2026-11-02", "2026-11-06"}
    kept = {path for path, (day, *_) in zip(paths, rows, strict=True) if day in aside}
    assert {*joined.corrections_good, *joined.corrections_defective} == kept
    assert {*joined.fit, *joined.known} == {*split.fit, *paths} - kept
    assert all(path.parent.name == "false_alarm" for path in joined.corrections_good)
    assert all(path.parent.name == "false_alarm" or path in split.fit for path in joined.fit)
    assert {joined.groups[path] for path in joined.fit if path in paths} == {f"door {day}" for day in set(days) - aside}


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    split, lines = make_split(tmp_path), list[str]()
    day = "2026-11-01"
    copy = hash_of("test")  # the first test image, as the box would store it
    broken, copied, good = write_corrections(tmp_path, [(day, "false_alarm", seed) for seed in (1, copy, 2)])
    broken.write_bytes(b"\xff\xd8 no picture")
    joined = join_corrections(split, DATA, tmp_path, lines.append)
    assert joined.fit == [*split.fit, good]
    assert "cannot be used" in lines[0]
    assert copied.name in lines[1]
    assert "near copy of a held-out image" in lines[1]
    write_corrections(tmp_path, [(day, "false_alarm", 3)], whole="no")
    assert join_corrections(split, DATA, tmp_path, lines.append).fit == split.fit
    assert "a part of the frame" in lines[-2]


def test_a_near_copy_of_another_day_is_not_kept_aside(tmp_path: Path) -> None:
    rows = [("2026-11-01", "false_alarm", 5), ("2026-11-02", "false_alarm", 5), ("2026-11-02", "false_alarm", 6)]
    first, _, other = write_corrections(tmp_path, rows)
    joined = join_corrections(make_split(tmp_path), DATA, tmp_path, no_log)
    assert isinstance(joined, CorrectedSplit)
    assert first in joined.fit
    assert joined.corrections_good == [other]


def test_few_images_are_in_all_parts_alike(tmp_path: Path) -> None:
    split = make_split(tmp_path, few=True)
    (path,) = write_corrections(tmp_path, [("2026-11-01", "label", 9)], label="good")
    joined = join_corrections(split, DATA, tmp_path, no_log)
    assert path in joined.fit
    assert path in joined.calibrate
    assert path in joined.threshold


def test_no_key_no_change_and_a_damaged_table_is_an_error(tmp_path: Path) -> None:
    split = make_split(tmp_path)
    assert join_corrections(split, msgspec.structs.replace(DATA, corrections=None), tmp_path, no_log) is split
    (tmp_path / "corrections").mkdir()
    with pytest.raises(ConfigProblem, match="no corrections"):
        join_corrections(split, DATA, tmp_path, no_log)
    (tmp_path / "corrections" / TABLE).write_text("file,event\nx,y\n")
    with pytest.raises(ConfigProblem, match="no column"):
        join_corrections(split, DATA, tmp_path, no_log)
