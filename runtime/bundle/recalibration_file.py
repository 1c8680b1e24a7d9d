"""Where a bundle's local recalibration lies. The store of models needs no more than that, and stays light."""

from __future__ import annotations

from pathlib import Path


def recalibration_path(bundle: Path) -> Path:
    """The file of the bundle at `bundle`."""
    return bundle.with_suffix(".recalibration.json")
