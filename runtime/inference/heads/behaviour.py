"""How someone behaves is answered as anomalies are, or as classes are: by what the model was taught with."""

from __future__ import annotations

from ...bundle.manifest import Manifest
from .anomaly import Anomaly
from .classify import Classify


def behaviour(manifest: Manifest) -> Anomaly | Classify:
    """The head: `anomaly` where the model knows only what is normal, `classify` where it was shown classes of clips."""
    return Anomaly(manifest) if manifest.temperature is None else Classify(manifest)
