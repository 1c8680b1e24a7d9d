"""The audit of a set of images: what would break a build or flatter its figures, found before time is spent.

    files       each image, decoded once: unreadable, truncated, empty; and what is measured on it
    twins       copies and near copies
    outliers    blur, exposure, framing, size, colour, against the set's own median
    embedding   what an image looks like to a network
    labels      images with the wrong label's neighbours, strangers, labels short of images
    groups      what belongs together and must not be divided
    listing     the list of images to keep
    certainty   what so many images can prove
    report      the page with pictures

imagehash and scikit-learn serve. cleanvision does not: its thresholds are the same for every set, and it brings pandas
and matplotlib; nor does cleanlab, whose rule flags what a hard set is full of (see labels).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from vedette.runtime.evaluation.verify import Track

from ..groups import joined
from . import image_checks, label_errors, near_duplicates, outliers
from .embedding import SIZE, Embedding
from .findings import Audit, Finding, in_order
from .image_checks import Look

_THREADS = 2
_BATCH = 4


def audit(
    images: Mapping[str, Sequence[Path]],
    folders: Mapping[str, Path],
    groups: Mapping[Path, str],
    base: Path,
    track: Track = lambda items, _: items,
) -> Audit:
    """Looks at every image once.

    Args:
        images: by label
        folders: of each label
        groups: of each image, as `groups.of` gives them
        base: names are given relative to it
        track: wraps the loop over the images, to show its progress
    """
    everything = [(path, label) for label, paths in images.items() for path in paths]
    findings: list[Finding] = []
    looks: list[Look] = []
    features: list[NDArray[Any]] = []
    for seen, embedded in _seen(track(everything, "audit")):
        findings += [each for each in seen if isinstance(each, Finding)]
        looks += [each for each in seen if isinstance(each, Look)]
        features += embedded

    unchecked = []
    copies = list(near_duplicates.find(looks))
    findings += copies
    findings += outliers.find(looks)
    if len(looks) < outliers.FEWEST:
        unchecked.append(f"outliers: {len(looks)} images have no typical value")
    usable_groups = {each.path: groups[each.path] for each in looks}
    together = joined(usable_groups, [(each.file, other) for each in copies for other in each.others])
    if looks:
        findings += _labelled(looks, np.concatenate(features), copies, together, unchecked)
    findings += label_errors.imbalance(images, folders)
    return Audit(
        base=base,
        images={label: list(paths) for label, paths in images.items()},
        findings=in_order(findings),
        groups=together,
        unchecked=tuple(unchecked),
    )


def _labelled(
    looks: list[Look],
    features: NDArray[Any],
    copies: list[Finding],
    groups: Mapping[Path, str],
    unchecked: list[str],
) -> list[Finding]:
    """What the neighbours say, of images whose label no copy contradicts."""
    contradicted = {path for each in copies if each.breaks for path in (each.file, *each.others)}
    rows = [row for row, each in enumerate(looks) if each.path not in contradicted]
    clear = [looks[row] for row in rows]
    if not clear:
        return []
    found, why = label_errors.mislabelled(clear, features[rows], groups)
    if why is not None:
        unchecked.append(why)
    named = {each.file for each in found}
    return found + [each for each in label_errors.strangers(clear, features[rows]) if each.file not in named]


def _seen(images: Iterable[tuple[Path, str]]) -> Iterator[tuple[list[Look | Finding], list[NDArray[Any]]]]:
    """Images looked at, some at a time, and the features of those that can be used.

    Two threads with small batches, each on one core: decoding and multiplying leave Python free, and a network this
    narrow gains less from sharing each layer between the cores than that costs.
    """
    embed = Embedding()

    def see(batch: Sequence[tuple[Path, str]]) -> tuple[list[Look | Finding], list[NDArray[Any]]]:
        found = [image_checks.look(path, label, SIZE) for path, label in batch]
        pictures = [each.pixels for each in found if isinstance(each, Look) and each.pixels is not None]
        features = [embed(pictures)] if pictures else []
        return [
            msgspec.structs.replace(each, pixels=None) if isinstance(each, Look) else each for each in found
        ], features

    left, threads = iter(images), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            while some := list(islice(left, _BATCH * _THREADS * 4)):
                yield from pool.map(see, [some[start : start + _BATCH] for start in range(0, len(some), _BATCH)])
    finally:
        torch.set_num_threads(threads)
