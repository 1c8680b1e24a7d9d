"""The head of behaviour models: that of anomaly models or that of classifiers, depending on the training data."""

from __future__ import annotations

from ...bundle.manifest import Manifest
from .anomaly import AnomalyHead
from .classify import ClassifyHead


def load_behaviour_head(manifest: Manifest) -> AnomalyHead | ClassifyHead:
    """An `AnomalyHead` if the model was trained on normal clips only, a `ClassifyHead` if on classes of clips."""
    return AnomalyHead(manifest) if manifest.temperature is None else ClassifyHead(manifest)
