"""The members of a bundle that the device computes with, compares with, or shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vedette.runtime.bundle.manifest import ONNX, TFLITE

from ..data.good_pictures import FOLDER, choose_pictures
from ..export.bundle_writer import encode_golden_npy_members
from .built_models import INT8_ONNX, INT8_TFLITE, BuiltModels
from .golden_outputs import compute_golden_arrays


def list_members(
    models: BuiltModels, golden_inputs: Sequence[Path], good: Sequence[Path], pictures: int
) -> dict[str, bytes]:
    """The int8 model files, the golden outputs and the pictures of good parts, by name in the bundle.

    Args:
        models: of the build
        golden_inputs: images for the golden outputs
        good: those that the model was fitted to
        pictures: of good parts, at most
    """
    return {
        models.manifest.models[ONNX]: models.files[INT8_ONNX],
        models.manifest.models[TFLITE]: models.files[INT8_TFLITE],
        **encode_golden_npy_members(compute_golden_arrays(models, golden_inputs)),
        **(models.inspector.members() if models.inspector is not None else {}),
        **choose_pictures(pictures, good, models.manifest, models.inspector),
    }


def list_pictures(members: dict[str, bytes]) -> dict[str, Any]:
    """The field of the manifest that names the pictures of good parts."""
    return {"pictures": tuple(name for name in sorted(members) if name.startswith(f"{FOLDER}/"))}
