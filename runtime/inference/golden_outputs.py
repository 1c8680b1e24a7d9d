"""Golden inputs and outputs: they show whether this machine computes what the build machine computed."""

from __future__ import annotations

import logging

import numpy as np

from ..bundle.bundle import Bundle
from ..bundle.manifest_checks import FLOAT_OUTPUT_SUFFIX
from ..errors import BundleProblem
from . import backends
from .backends import Backend
from .self_test import test_models

log = logging.getLogger(__name__)

# ONNX Runtime and LiteRT round ties of element-wise operators differently: one step on some outputs. tflite-runtime's
# plain kernels round more often: up to 9 steps were seen on a network of 60 layers.
TOLERANCE_STEPS = 2
TOLERANCE_STEPS_TFLITE_RUNTIME = 12


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


def step_tolerance(version: str) -> int:
    """The largest difference from the golden outputs, in integer steps, with which a back end of this library and
    version counts as correct.
    """
    is_tflite_runtime = version.startswith("tflite-runtime")
    return TOLERANCE_STEPS_TFLITE_RUNTIME if is_tflite_runtime else TOLERANCE_STEPS


def reproduces_golden_outputs(bundle: Bundle, backend: Backend) -> bool:
    return max_step_difference(bundle, backend) <= step_tolerance(backend.version)


def select_backend(bundle: Bundle, name: str, threads: int) -> Backend:
    """The back end `name`; for `auto`, the fastest one on this machine that reproduces the golden outputs.

    The self-test decides in another process. Only the library of the chosen one is loaded here.

    Raises:
        ConfigProblem: there is no such back end.
        BundleProblem: no back end reproduces them, or the models are faulty.
        MachineProblem: no library is installed.
    """
    if name != "auto":
        backends.check_name(name)
    results = test_models(bundle, tuple(bundle.manifest.models) if name == "auto" else (name,), threads)
    running = [result for result in results.values() if result.runs]
    if not running:
        raise backends.explain_no_backend(bundle, results)
    for result in results.values():
        if result.fault:
            log.warning("%s", result.problem(bundle).message)
    correct = [result for result in running if result.steps <= step_tolerance(result.version)]
    if not correct:
        versions = " and ".join(result.version for result in running)
        raise BundleProblem(
            f"{bundle.path}: the bundle's golden outputs are not reproduced by {versions}",
            hint="run vedette verify on this machine; another version of the back end may be needed",
        )
    fastest = min(correct, key=lambda result: result.seconds or 0.0)
    backend = backends.open_backend(fastest.backend, bundle, threads)
    log.info("%s on %s", bundle.manifest.model_id, backend.version)
    return backend
