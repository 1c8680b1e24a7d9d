"""The file with which ONNX Runtime drives a kind of GPU."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def find_provider_library(provider: str) -> Path | None:
    """The file of a provider, `cuda` or `tensorrt`, found without loading anything; None: it is not installed."""
    spec = find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "capi" / f"libonnxruntime_providers_{provider}.so"
    return path if path.exists() else None
