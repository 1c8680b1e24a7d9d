"""The search for near copies against all pairs, one by one; samples of large sets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vedette.compress.data.audit import near_copy_search
from vedette.compress.data.audit.near_copy_search import (
    MAX_HASH_DISTANCE,
    MAX_OTHERS,
    MIN_CORRELATION,
    FineDetails,
    compute_residuals,
    find_near_copies,
)
from vedette.compress.data.group_sample import sample_by_group
from vedette.compress.data.groups import merge_groups


def images(kind, count=120, seed=0):
    """Hashes, residuals and labels: different parts with copies, one still part, or a still part in changing light."""
    rng = np.random.default_rng(seed)
    parts = rng.normal(0, 10, (count, 256))
    if kind == "copies":
        parts[rng.permutation(count)[: count // 2]] = parts[rng.integers(0, 8, count // 2)]
    if kind == "still":
        parts[:] = parts[0]
        parts[40:60] += rng.normal(0, 10, 256)
    if kind == "light":
        parts = parts[:1] * rng.uniform(0.5, 1.5, (count, 1))
    details = (parts + rng.normal(0, 0.3, parts.shape)).astype(np.float32)
    hashes = np.sign(parts) > 0
    hashes ^= rng.random(hashes.shape) < 0.01
    return hashes, compute_residuals(details), (np.arange(count) >= count * 0.8).astype(int)


def pairs_one_by_one(hashes, residuals):
    """All near copies: (earlier, later) -> bits that differ."""
    found = {}
    for later in range(len(hashes)):
        for earlier in range(later):
            bits = int((hashes[earlier] != hashes[later]).sum())
            if bits <= MAX_HASH_DISTANCE and float(residuals[earlier] @ residuals[later]) >= MIN_CORRELATION:
                found[earlier, later] = bits
    return found


def groups_of(count, pairs):
    paths = [Path(f"{number:04d}") for number in range(count)]
    return merge_groups({path: path.name for path in paths}, [(paths[one], paths[other]) for one, other in pairs])


@pytest.fixture(params=("copies", "still", "light", "different"))
def case(request, monkeypatch):
    monkeypatch.setattr(near_copy_search, "_BLOCK_ROWS", 32)
    monkeypatch.setattr(near_copy_search, "_SPARSE_PAIRS", 50)
    return (*images(request.param), request.param)


def test_search_finds_the_images_and_groups_that_all_pairs_give(case):
    hashes, residuals, labels, kind = case
    expected = pairs_one_by_one(hashes, residuals)
    found = find_near_copies(hashes, residuals, labels)
    assert bool(expected) == (kind != "different")
    kept = [(other, number) for number, (_, others) in found.items() for other in others]
    assert set(kept) <= set(expected)
    assert set(found) == {later for _, later in expected}
    for number, (bits, _) in found.items():
        assert bits == min(value for (_, later), value in expected.items() if later == number)
    count = len(hashes)
    assert groups_of(count, kept) == groups_of(count, expected)
    for label in (0, 1):
        same = [pair for pair in expected if labels[pair[0]] == labels[pair[1]] == label]
        kept_same = [pair for pair in kept if labels[pair[0]] == labels[pair[1]] == label]
        assert groups_of(count, kept_same) == groups_of(count, same)


def test_each_image_keeps_its_most_similar_near_copies_of_the_other_label(case):
    hashes, residuals, labels, _ = case
    found = find_near_copies(hashes, residuals, labels)
    kept = {(other, number) for number, (_, others) in found.items() for other in others}
    partners: dict[int, list[int]] = {}
    for pair in pairs_one_by_one(hashes, residuals):
        if labels[pair[0]] != labels[pair[1]]:
            partners.setdefault(pair[0], []).append(pair[1])
            partners.setdefault(pair[1], []).append(pair[0])
    for number, others in partners.items():
        similarity = residuals[others] @ residuals[number]
        for other in np.array(others)[np.argsort(-similarity)[: MAX_OTHERS - 1]].tolist():
            assert (min(number, other), max(number, other)) in kept


def test_kept_pairs_are_few_where_all_images_are_near_copies():
    hashes, residuals, labels = images("light", count=300)
    found = find_near_copies(hashes, residuals, labels)
    assert sum(len(others) for _, others in found.values()) <= 300 * (2 * MAX_OTHERS + 2)


def picture_part(surface, angle, rng):
    """A part of one outline, turned, with a faint surface of its own: detail, 64 x 64."""
    outline = np.zeros((64, 64), np.float32)
    cv2.rectangle(outline, (14, 20), (50, 44), 80.0, 3)
    matrix = cv2.getRotationMatrix2D((32, 32), angle, 1.0)
    moved = cv2.warpAffine(outline + surface, matrix, (64, 64))
    return np.asarray(moved - cv2.GaussianBlur(moved, (0, 0), 8) + rng.normal(0, 0.3, moved.shape)).astype(np.float32)


def test_parts_of_one_design_that_lie_alike_are_no_near_copies():
    """Forty parts in ten poses; the last three pictures show the first three parts again."""
    rng = np.random.default_rng(0)
    surfaces = [cv2.GaussianBlur(rng.normal(0, 6, (64, 64)).astype(np.float32), (0, 0), 1) for _ in range(40)]
    angles = [7.0 * (number % 10) for number in range(40)]
    again = [0, 1, 2]
    details = [picture_part(surfaces[number], angles[number], rng) for number in [*range(40), *again]]
    residuals = compute_residuals(np.stack([each.ravel() for each in details]))
    hashes, labels = np.zeros((43, 256), bool), np.zeros(43, int)
    assert len(find_near_copies(hashes, residuals, labels)) > 20, "by the residuals alone"
    found = find_near_copies(hashes, residuals, labels, FineDetails(details))
    assert {number: others for number, (_, others) in found.items()} == {40: [0], 41: [1], 42: [2]}


def test_sample_takes_all_groups_alike_and_keeps_small_sets_whole():
    paths = [Path(f"{number:03d}.png") for number in range(100)]
    groups = {path: "large" if number < 80 else f"small{number // 5}" for number, path in enumerate(paths)}
    sample = sample_by_group(paths, groups, 20, seed=0)
    assert sample == sorted(sample)
    assert len(sample) == 20
    assert sum(groups[path] == "large" for path in sample) == 4
    assert sample == sample_by_group(paths, groups, 20, seed=0)
    assert sample_by_group(paths, groups, 100, seed=0) == paths
