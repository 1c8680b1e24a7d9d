"""Golden outputs: some test images and what each model file computes from them, to be reproduced on every device."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest_checks import FLOAT_OUTPUT_SUFFIX

from ..data import split
from .built_models import INT8_ONNX, INT8_TFLITE, BuiltModels


def compute_golden_arrays(models: BuiltModels, paths: Iterable[Path]) -> dict[str, NDArray[Any]]:
    """The preprocessed images as `image`, and each output by name, in the order of `paths`.

    A TFLite file that computes in float has outputs of its own, under `NAME-float`.
    """
    samples = list(split.model_inputs(paths, models.manifest.input, models.inspector))
    arrays = {"image": np.concatenate(samples)}
    for name in [INT8_ONNX, *([INT8_TFLITE] if models.manifest.floats else [])]:
        backend = models.backends[name]
        runs, suffix = [backend.run(sample) for sample in samples], FLOAT_OUTPUT_SUFFIX if backend.is_float else ""
        arrays |= {output + suffix: np.stack([run[output] for run in runs]) for output in runs[0]}
    return arrays
