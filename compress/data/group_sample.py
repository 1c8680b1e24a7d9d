"""Samples of large sets: as many images as a fit or a calibration needs, from as many groups as possible.

The audit, the threshold and the test take every image. The statistics of a fit and the ranges of a calibration are not
expected to gain from thousands: docs/benchmarks.md has the AUROC against the number of images, up to hundreds. So a fit
takes MAX_FIT_IMAGES at most, and its time and memory are bounded. Smaller sets are taken whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

MAX_FIT_IMAGES = 1600  # good images; augmented copies come on top
MAX_CALIBRATION_IMAGES = 256


def sample_by_group(paths: Sequence[Path], groups: Mapping[Path, str], count: int, seed: int) -> list[Path]:
    """At most `count` of the images, in their order; all groups contribute alike, as far as they have images.

    Args:
        paths: images
        groups: group of an image; one that is not listed is a group by itself
        count: number of images, at most
        seed: determines the sample, together with the images
    """
    if len(paths) <= count:
        return list(paths)
    taken: Counter[str] = Counter()
    turns: dict[int, int] = {}  # index of an image -> images of its group that come before it
    order = np.random.default_rng(seed).permutation(len(paths)).tolist()
    for index in order:
        group = groups.get(paths[index], str(paths[index]))
        turns[index] = taken[group]
        taken[group] += 1
    chosen = sorted(order, key=turns.__getitem__)[:count]
    return [paths[index] for index in sorted(chosen)]
