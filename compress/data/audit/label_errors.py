"""Images that sit with the wrong label's neighbours, images that sit with nobody, and labels that are short of images.

Each image is judged by a linear classifier of embeddings that has not seen it, nor its group: cross-validation, as in
confident learning (Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021).
The margin is by how much another label is likelier than its own. Confident learning flags every image whose other label
is likelier than usual, which on hard sets is every tenth; here it must also lie 3.5 deviations beyond the set's own
margins (1 in 4,000 of a normal distribution), so that labels that overlap raise few alarms. The price: a wrong label is
found where the labels can be told apart in these features, and rarely where the defect is small in the picture.

An image that resembles nothing with its label is three times as far from its five nearest neighbours there as is usual,
and five deviations. Five or more strangers of one kind keep each other company and are not found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .findings import Finding
from .image_checks import Look
from .outliers import FEWEST, spread

DEVIATIONS = 3.5
_FOLDS = 5
_REPEATS = 3  # divisions into folds, averaged: one alone moves the margins by as much as a deviation
_FEWEST = 10  # images of each label
_NEIGHBOURS = 5
STRANGE = 3.0  # times the usual distance
_FAR = 5.0
SHORT = 0.2  # of the largest label
_LEAST = -700.0  # a logarithm that no likelihood falls below
_PENALTY = 1e-2  # C of the classifier: hundreds of features, often fewer images


def mislabelled(
    looks: Sequence[Look], features: NDArray[Any], groups: Mapping[Path, str]
) -> tuple[list[Finding], str | None]:
    """Probable mislabels; and why nothing could be said, where that is so.

    Args:
        looks: N images
        features: N x D
        groups: of each image; one group is never in training and judgement at once
    """
    labels = np.array([each.label for each in looks])
    names = sorted(set(labels.tolist()))
    if len(names) < 2:
        return [], None
    identifiers = np.unique([groups[each.path] for each in looks], return_inverse=True)[1]
    folds = min(len(set(identifiers[labels == name])) for name in names)
    if folds < _FOLDS or min(Counter(labels).values()) < _FEWEST:
        return [], f"wrong labels: each label needs {_FEWEST} images in {_FOLDS} groups"
    likely = _likelihoods(features, labels, identifiers)
    own = np.searchsorted(names, labels)
    rows = np.arange(len(looks))
    others = likely.copy()
    others[rows, own] = -np.inf
    margins = others.max(axis=1) - likely[rows, own]
    median, deviation = spread(margins)
    limit = max(median + DEVIATIONS * deviation, 0.0)
    return [
        Finding(
            kind="label",
            file=looks[row].path,
            label=looks[row].label,
            measure="log odds of another label",
            value=float(margins[row]),
            threshold=limit,
            why=f"it looks like {names[int(others[row].argmax())]}, not {looks[row].label}",
        )
        for row in np.flatnonzero(margins > limit).tolist()
    ], None


def _likelihoods(features: NDArray[Any], labels: NDArray[Any], groups: NDArray[Any]) -> NDArray[Any]:
    """N x labels: logarithms of probabilities, from classifiers that have not seen the image."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = LogisticRegression(C=_PENALTY, max_iter=300, class_weight="balanced")
    judge, numbers = make_pipeline(StandardScaler(), classifier), features.astype(np.float64)
    found = []
    for seed in range(_REPEATS):
        folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
        seen = cross_val_predict(judge, numbers, labels, groups=groups, cv=folds, method="predict_log_proba")
        found.append(np.maximum(seen, _LEAST))
    return np.asarray(np.mean(found, axis=0))


def strangers(looks: Sequence[Look], features: NDArray[Any]) -> Iterator[Finding]:
    """Images that resemble nothing with their label."""
    from sklearn.neighbors import NearestNeighbors

    labels = np.array([each.label for each in looks])
    for label in sorted(set(labels.tolist())):
        rows = np.flatnonzero(labels == label)
        if len(rows) < max(FEWEST, 2 * _NEIGHBOURS):
            continue
        own = features[rows].astype(np.float64)
        scale = np.maximum(1.4826 * np.median(np.abs(own - np.median(own, axis=0)), axis=0), 0.2 * own.std(axis=0))
        standard = own / np.maximum(scale, 1e-6)
        distances = NearestNeighbors(n_neighbors=_NEIGHBOURS).fit(standard).kneighbors()[0].mean(axis=1)
        levels = np.log(np.maximum(distances, 1e-6))
        median, deviation = spread(levels)
        reach = max(log(STRANGE), _FAR * deviation)
        for row, level in zip(rows.tolist(), levels, strict=True):
            if level > median + reach:
                yield Finding(
                    kind="label",
                    file=looks[row].path,
                    label=label,
                    measure="distance to its neighbours, in usual distances",
                    value=exp(level - median),
                    threshold=exp(reach),
                    why=f"it resembles nothing else that is labelled {label}",
                )


def imbalance(images: Mapping[str, Sequence[Path]], folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Labels with few images beside the largest."""
    largest = max(images, key=lambda label: len(images[label]))
    for label, paths in images.items():
        share = len(paths) / len(images[largest])
        if share < SHORT:
            yield Finding(
                kind="imbalance",
                file=folders[label],
                label=label,
                measure="images as a share of the largest label's",
                value=share,
                threshold=SHORT,
                why=f"{label} has {len(paths)} images, {largest} has {len(images[largest])}",
            )
