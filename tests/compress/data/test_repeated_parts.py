"""One part in several pictures: found under another exposure, not among parts of one design, and kept together."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vedette.compress.data import groups, split
from vedette.compress.data.audit import audit_images, labels_from_folders, repeated_parts
from vedette.compress.data.audit.findings import Finding
from vedette.compress.goal.goal_tables import DataSettings

PARTS, EXPOSURES, SIDE = 12, 3, 240


def surface(seed: int) -> np.ndarray:
    """A brushed and stained surface unlike any other, float32."""
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(rng.normal(0, 60, (SIDE, SIDE)).astype(np.float32), (0, 0), sigmaX=1, sigmaY=4)
    stains = cv2.GaussianBlur(rng.normal(0, 400, (SIDE, SIDE)).astype(np.float32), (0, 0), 4)
    return np.asarray(110 + grain + stains)


def expose(image: np.ndarray, exposure: int, seed: int) -> np.ndarray:
    """The surface under another exposure, with noise, a few pixels elsewhere."""
    rng = np.random.default_rng(seed)
    matrix = np.array([[1, 0, rng.uniform(-4, 4)], [0, 1, rng.uniform(-4, 4)]], np.float32)
    moved = cv2.warpAffine(image, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    levels = 255 * (np.clip(moved, 0, 255) / 255) ** (0.7, 1.0, 1.5)[exposure] * (1.0, 0.8, 0.6)[exposure]
    return np.asarray((levels + rng.normal(0, 3, levels.shape)).clip(0, 255).astype(np.uint8))


@pytest.fixture
def pictured_thrice(tmp_path: Path) -> Path:
    """Twelve parts, each under three exposures."""
    (tmp_path / "good").mkdir()
    for part in range(PARTS):
        for exposure in range(EXPOSURES):
            path = tmp_path / "good" / f"part{part:02d}-{exposure}.png"
            cv2.imwrite(str(path), expose(surface(part), exposure, 10 * part + exposure))
    return tmp_path


def find_parts(folder: Path, group: str | None = None) -> list[set[str]]:
    images, folders = labels_from_folders.read_folder_layout(folder)
    report = audit_images(images, folders, groups.assign_groups(images, folders, group, folder), folder)
    return [{path.name for path in (each.file, *each.others)} for each in report.findings if each.kind == "same_part"]


def test_one_part_under_several_exposures_is_found(pictured_thrice: Path) -> None:
    found = find_parts(pictured_thrice)
    assert len(found) >= PARTS - 1
    assert all(len({name[:6] for name in names}) == 1 for names in found)


def test_parts_of_one_design_are_not_one_part(tmp_path: Path) -> None:
    """Forty boards share their print, which is nearly all that can be seen."""
    (tmp_path / "good").mkdir()
    print_ = surface(99)
    for number in range(40):
        image = print_ + 0.4 * (surface(number) - 110)
        cv2.imwrite(str(tmp_path / "good" / f"{number:02d}.png"), expose(image, number % 3, number))
    assert find_parts(tmp_path) == []


def test_pictures_of_one_part_stay_in_one_part_of_the_split(pictured_thrice: Path) -> None:
    for seed in range(3):
        images = split.audit_and_split(DataSettings(good="good", seed=seed), pictured_thrice)
        parts = {path.name: part for part in split.SPLIT_FRACTIONS for path in getattr(images, part)}
        assert len(parts) == PARTS * EXPOSURES
        apart = [part for part in range(PARTS) if len({parts[f"part{part:02d}-{each}.png"] for each in range(3)}) > 1]
        assert len(apart) <= 1


def test_groups_of_a_rule_are_reported_and_not_joined(pictured_thrice: Path) -> None:
    """The rule puts the exposures into groups, each of which has all parts: joined, no two groups were left."""
    rule = r"-(\d)\.png"
    assert len(find_parts(pictured_thrice, rule)) >= PARTS - 1
    for_split = DataSettings(good="good", group=r"^part\d(\d)")
    images = split.audit_and_split(for_split, pictured_thrice)
    assert len(set(images.groups.values())) == 10


def test_groups_of_a_rule_that_hold_the_pictures_of_a_part_are_not_reported(pictured_thrice: Path) -> None:
    assert find_parts(pictured_thrice, r"^(part\d+)") == []


@pytest.mark.parametrize(("pictures", "are_joined"), [(4, True), (5, False)])
def test_scene_in_more_than_a_fifth_of_the_pictures_is_not_joined(pictures: int, are_joined: bool) -> None:
    paths = [Path(f"{number}.png") for number in range(20)]
    found = Finding(
        kind="same_part",
        file=paths[0],
        label="good",
        measure="keypoints that agree",
        value=40,
        threshold=20,
        why="",
        others=tuple(paths[1:pictures]),
    )
    pairs = repeated_parts.pairs_to_join([found], {path: path.name for path in paths})
    assert len(pairs) == (pictures - 1 if are_joined else 0)
