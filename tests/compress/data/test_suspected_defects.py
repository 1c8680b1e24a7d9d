"""Defects among the good images: the audit names them, and a robust fit leaves them out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from products import texture_image

from vedette.compress.data import split, trimming
from vedette.compress.data.audit import suspected_defects
from vedette.compress.goal.goal_tables import DataSettings

GOOD, SCRATCHED = 60, 6


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    """Sixty good images and six scratched ones in one folder, and the same without scratched ones."""
    path = tmp_path_factory.mktemp("dirty")
    for folder, scratched in (("dirty", SCRATCHED), ("clean", 0)):
        (path / folder).mkdir()
        for number in range(GOOD):
            cv2.imwrite(str(path / folder / f"{number:03d}.png"), texture_image(number, False))
        for number in range(scratched):
            cv2.imwrite(str(path / folder / f"scratched{number}.png"), texture_image(1000 + number, True))
    return path


def audit(folder, name, **settings):
    logged = []
    images = split.audit_and_split(DataSettings(good=name, **settings), folder, log=logged.append)
    return images, logged


@pytest.fixture(scope="module")
def audited(dirty):
    return audit(dirty, "dirty")


def test_scratched_images_among_good_ones_are_named(audited):
    images, logged = audited
    named = images.audit["suspects"]
    scratched = [name for name in named if "scratched" in name]
    assert len(scratched) >= 0.8 * SCRATCHED
    assert len(named) - len(scratched) <= 0.02 * GOOD
    assert any(f"{len(named)} images in good look defective" in line for line in logged)


def test_clean_images_are_not_suspected(dirty):
    images, logged = audit(dirty, "clean")
    assert images.audit["suspects"] == []
    assert not any("look defective" in line for line in logged)


def test_robust_fit_leaves_out_the_scratched_images_and_few_others(audited):
    images, logged = audited
    assert not any("scratched" in path.name for path in images.fit)
    good = [path for path in images.unusual if "scratched" not in path.name]
    assert len(good) <= 0.15 * len(images.fit)
    assert not set(images.unusual) & {*images.fit, *images.calibrate, *images.threshold, *images.test}
    parts = [*images.fit, *images.unusual, *images.calibrate, *images.threshold, *images.test]
    assert len(parts) == len(set(parts)) == GOOD + SCRATCHED
    assert len(images.audit["unusual"]) == len(images.unusual)
    assert any(line.startswith(f"robust fit: {len(images.unusual)} of") for line in logged)


def test_keep_list_is_a_judgment_and_keeps_all_images_in_the_fit(dirty):
    rows = [f"dirty/{path.name}" for path in sorted((dirty / "dirty").iterdir())]
    (dirty / "kept.csv").write_text("file\n" + "\n".join(rows) + "\n")
    images, _ = audit(dirty, "dirty", list="kept.csv")
    assert images.unusual == []
    assert len(images.fit) + len(images.calibrate) + len(images.threshold) + len(images.test) == GOOD + SCRATCHED


def test_other_parts_do_not_decide_what_is_fitted(dirty, monkeypatch):
    seen = []
    compare = suspected_defects.cross_validated_deviations

    def record(cells):
        seen.append(len(cells))
        return compare(cells)

    monkeypatch.setattr(trimming.suspected_defects, "cross_validated_deviations", record)
    images, _ = audit(dirty, "dirty")
    assert seen == [GOOD + SCRATCHED, len(images.fit) + len(images.unusual)]


def test_deviations_do_not_widen_with_defects():
    values = np.concatenate([np.random.default_rng(0).normal(size=200), np.full(40, 9.0)])
    deviations = suspected_defects.robust_deviations(values)
    assert (deviations[200:] > 5).all()
    assert (deviations[:200] > suspected_defects.suspect_limit(240)).mean() < 0.02


def test_group_of_another_kind_of_good_parts_stays_in_the_fit():
    deviations = np.concatenate([np.zeros(90), np.full(6, 9.0), np.full(4, 9.0)])
    groups = [str(number % 9) for number in range(90)] + ["other"] * 6 + ["1", "2", "3", "4"]
    left_out = trimming.select_unusual(deviations, groups)
    assert left_out.tolist() == [False] * 96 + [True] * 4


def test_fit_stays_whole_unless_images_are_suspected():
    deviations = np.append(np.zeros(190), np.full(10, 2.0))
    groups = list(map(str, range(200)))
    assert not trimming.select_unusual(deviations, groups).any()
    deviations[:4] = 9.0
    assert trimming.select_unusual(deviations, groups).sum() == 14
