"""Golden inputs and outputs: they show whether this machine computes what the build machine computed."""

from __future__ import annotations

import logging

import numpy as np

from ..bundle.bundle import Bundle
from ..errors import BundleProblem
from . import backends
from .backends import Backend

log = logging.getLogger(__name__)

# ONNX Runtime and LiteRT round ties of element-wise operators differently: one step on some outputs. tflite-runtime's
# plain kernels round more often: up to 9 steps were seen on a network of 60 layers.
TOLERANCE_STEPS = 2
TOLERANCE_STEPS_TFLITE_RUNTIME = 12
FLOAT_OUTPUT_SUFFIX = "-float"  # suffix of the golden outputs of a model that computes in float


def max_step_difference(bundle: Bundle, backend: Backend) -> int:
    """The largest difference between `backend` and the golden outputs, in integer steps."""
    images, suffix = bundle.golden("image"), FLOAT_OUTPUT_SUFFIX if backend.is_float else ""
    golden = {output.name: bundle.golden(output.name + suffix).astype(int) for output in bundle.manifest.outputs}
    max_difference = 0
    for index in range(len(images)):
        for name, output in backend.run(images[index : index + 1]).items():
            difference = np.abs(output.astype(int) - golden[name][index].reshape(output.shape))
            max_difference = max(max_difference, int(difference.max()))
    return max_difference


def step_tolerance(backend: Backend) -> int:
    """The largest difference from the golden outputs, in integer steps, with which `backend` counts as correct."""
    is_tflite_runtime = backend.version.startswith("tflite-runtime")
    return TOLERANCE_STEPS_TFLITE_RUNTIME if is_tflite_runtime else TOLERANCE_STEPS


def reproduces_golden_outputs(bundle: Bundle, backend: Backend) -> bool:
    return max_step_difference(bundle, backend) <= step_tolerance(backend)


def select_backend(bundle: Bundle, name: str, threads: int) -> Backend:
    """The back end `name`; for `auto`, the fastest one on this machine that reproduces the golden outputs.

    Raises:
        BundleProblem: no back end reproduces them.
        MachineProblem: no back end loads.
    """
    if name == "auto":
        candidates = list(backends.available_backends(bundle, threads).values())
    else:
        candidates = [backends.load_backend(name, bundle, threads)]
    correct = [backend for backend in candidates if reproduces_golden_outputs(bundle, backend)]
    if not correct:
        versions = " and ".join(backend.version for backend in candidates)
        raise BundleProblem(
            f"{bundle.path}: the bundle's golden outputs are not reproduced by {versions}",
            hint="run vedette verify on this machine; another version of the back end may be needed",
        )
    backend = backends.fastest_backend(correct, bundle.golden("image")[:1])
    log.info("%s on %s", bundle.manifest.model_id, backend.version)
    return backend
