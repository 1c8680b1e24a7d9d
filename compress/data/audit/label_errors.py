"""Label errors, isolated images, and class imbalance.

A linear classifier of embeddings predicts the label of each image. Cross-validation excludes the image and its group
from the training of the classifier, as in confident learning (Northcutt, Jiang and Chuang, "Confident Learning:
Estimating Uncertainty in Dataset Labels", 2021). The margin is the log odds of the most likely other label against the
given label. Confident learning reports each image with another label that is more likely than usual. On hard data sets
this is every tenth image. Here the margin must also exceed the median of the set by 3.5 standard deviations (1 in 4,000
of a normal distribution), so that overlapping labels cause few findings. The limitation: the check finds label errors
if the embedding separates the labels, but rarely if the defect is small in the image.

An isolated image has three times the usual distance to its five nearest neighbors of its label, and its distance is an
outlier by at least five standard deviations. Five or more similar isolated images are neighbors of each other, so the
check does not find them.
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
from .image_checks import ImageMeasurements
from .quality_outliers import MIN_OUTLIER_IMAGES, median_and_deviation

MARGIN_DEVIATIONS = 3.5
_FOLDS = 5
_REPEATS = 3  # cross-validations to average; a single one varies the margins by up to a standard deviation
_MIN_LABEL_IMAGES = 10  # images of each label, at least
_NEIGHBORS = 5
ISOLATION_FACTOR = 3.0  # multiples of the usual distance
_ISOLATION_DEVIATIONS = 5.0
MIN_LABEL_FRACTION = 0.2  # images as a fraction of the largest label
_MIN_LOG_PROBABILITY = -700.0  # lower bound of log probabilities
_INVERSE_REGULARIZATION = (
    1e-2  # C of the classifier; small, because there are hundreds of features and often fewer images
)


def find_mislabeled(
    images: Sequence[ImageMeasurements], features: NDArray[Any], groups: Mapping[Path, str]
) -> tuple[list[Finding], str | None]:
    """Returns findings for probable label errors, and a reason if the check is impossible.

    Args:
        images: measurements of N images
        features: N x D embeddings
        groups: group of each image; the classifier that predicts an image is trained without its group
    """
    labels = np.array([each.label for each in images])
    names = sorted(set(labels.tolist()))
    if len(names) < 2:
        return [], None
    identifiers = np.unique([groups[each.path] for each in images], return_inverse=True)[1]
    folds = min(len(set(identifiers[labels == name])) for name in names)
    if folds < _FOLDS or min(Counter(labels).values()) < _MIN_LABEL_IMAGES:
        return [], f"wrong labels: each label needs {_MIN_LABEL_IMAGES} images in {_FOLDS} groups"
    log_probabilities = _predict_log_probabilities(features, labels, identifiers)
    own_label = np.searchsorted(names, labels)
    rows = np.arange(len(images))
    others = log_probabilities.copy()
    others[rows, own_label] = -np.inf
    margins = others.max(axis=1) - log_probabilities[rows, own_label]
    median, deviation = median_and_deviation(margins)
    limit = max(median + MARGIN_DEVIATIONS * deviation, 0.0)
    return [
        Finding(
            kind="label",
            file=images[row].path,
            label=images[row].label,
            measure="log odds of another label",
            value=float(margins[row]),
            threshold=limit,
            why=f"it looks like {names[int(others[row].argmax())]}, not {images[row].label}",
        )
        for row in np.flatnonzero(margins > limit).tolist()
    ], None


def _predict_log_probabilities(features: NDArray[Any], labels: NDArray[Any], groups: NDArray[Any]) -> NDArray[Any]:
    """Cross-validated log probabilities of each label, N x labels."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = LogisticRegression(C=_INVERSE_REGULARIZATION, max_iter=300, class_weight="balanced")
    pipeline, inputs = make_pipeline(StandardScaler(), classifier), features.astype(np.float64)
    repeats = []
    for seed in range(_REPEATS):
        folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
        predicted = cross_val_predict(pipeline, inputs, labels, groups=groups, cv=folds, method="predict_log_proba")
        repeats.append(np.maximum(predicted, _MIN_LOG_PROBABILITY))
    return np.asarray(np.mean(repeats, axis=0))


def find_isolated_images(images: Sequence[ImageMeasurements], features: NDArray[Any]) -> Iterator[Finding]:
    """Finds isolated images: those far from all other images of their label."""
    from sklearn.neighbors import NearestNeighbors

    labels = np.array([each.label for each in images])
    for label in sorted(set(labels.tolist())):
        rows = np.flatnonzero(labels == label)
        if len(rows) < max(MIN_OUTLIER_IMAGES, 2 * _NEIGHBORS):
            continue
        own = features[rows].astype(np.float64)
        scale = np.maximum(1.4826 * np.median(np.abs(own - np.median(own, axis=0)), axis=0), 0.2 * own.std(axis=0))
        standard = own / np.maximum(scale, 1e-6)
        distances = NearestNeighbors(n_neighbors=_NEIGHBORS).fit(standard).kneighbors()[0].mean(axis=1)
        log_distances = np.log(np.maximum(distances, 1e-6))
        median, deviation = median_and_deviation(log_distances)
        margin = max(log(ISOLATION_FACTOR), _ISOLATION_DEVIATIONS * deviation)
        for row, log_distance in zip(rows.tolist(), log_distances, strict=True):
            if log_distance > median + margin:
                yield Finding(
                    kind="label",
                    file=images[row].path,
                    label=label,
                    measure="distance to its neighbours, in usual distances",
                    value=exp(log_distance - median),
                    threshold=exp(margin),
                    why=f"it resembles no other image that is labelled {label}",
                )


def find_imbalance(images: Mapping[str, Sequence[Path]], folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Finds class imbalance: labels with few images compared to the largest label."""
    largest = max(images, key=lambda label: len(images[label]))
    for label, paths in images.items():
        fraction = len(paths) / len(images[largest])
        if fraction < MIN_LABEL_FRACTION:
            yield Finding(
                kind="imbalance",
                file=folders[label],
                label=label,
                measure="images as a share of the largest label's",
                value=fraction,
                threshold=MIN_LABEL_FRACTION,
                why=f"{label} has {len(paths)} images, {largest} has {len(images[largest])}",
            )
