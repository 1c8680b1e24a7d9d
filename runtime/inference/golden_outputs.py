"""Golden inputs and outputs: they show whether this machine computes what the build machine computed."""

from __future__ import annotations

import logging

import numpy as np

from ..bundle.bundle import Bundle
from ..bundle.manifest_checks import FLOAT_OUTPUT_SUFFIX
from ..errors import BundleProblem
from . import backends
from .backends import Backend, auto_candidates
from .self_test import ACCELERATORS, test_models

log = logging.getLogger(__name__)

# ONNX Runtime and LiteRT round ties of element-wise operators differently: one step on some outputs. tflite-runtime's
# plain kernels round more often: up to 9 steps were seen on a network of 60 layers.
TOLERANCE_STEPS = 2
TOLERANCE_STEPS_TFLITE_RUNTIME = 12
# A GPU computes the same quantizers with float products: on 12 bundles of four tasks at most 2 steps (docs/devices.md).
# An Edge TPU computes the TFLite file's integers. Both have TOLERANCE_STEPS. Hailo quantizes the float model anew; as
# much as the loosest of the other libraries may differ is still the same model, more is another one.
TOLERANCE_STEPS_HAILO = 12


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
    wider = {"tflite-runtime": TOLERANCE_STEPS_TFLITE_RUNTIME, "hailort": TOLERANCE_STEPS_HAILO}
    return next((steps for library, steps in wider.items() if version.startswith(library)), TOLERANCE_STEPS)


def describe_difference(steps: int, version: str) -> str:
    """How far a library is from the golden outputs, in words."""
    return f"it differs from the golden outputs by {steps} steps; {step_tolerance(version)} are allowed"


def reproduces_golden_outputs(bundle: Bundle, backend: Backend) -> bool:
    return max_step_difference(bundle, backend) <= step_tolerance(backend.version)


def select_backend(bundle: Bundle, name: str, threads: int) -> Backend:
    """The back end `name`; for `auto`, the fastest one on this machine that reproduces the golden outputs. An
    accelerator is one of the candidates if the bundle has a model for it, or its library is installed.

    The self-test decides in another process. Only the library of the chosen one is loaded here.

    Raises:
        ConfigProblem: there is no such back end.
        BundleProblem: no back end reproduces them, or the models are faulty.
        MachineProblem: no library is installed.
    """
    if name != "auto":
        backends.check_name(name)
    candidates = auto_candidates(bundle.manifest) if name == "auto" else (name,)
    results = test_models(bundle, candidates, threads)
    running = [result for result in results.values() if result.runs]
    if not running:
        raise backends.explain_no_backend(bundle, results)
    for result in results.values():
        if result.fault or (result.missing and result.backend in ACCELERATORS):
            log.warning("%s", result.problem(bundle).message)
    correct = [result for result in running if result.steps <= step_tolerance(result.version)]
    for result in running:
        if result.backend in ACCELERATORS and result not in correct:
            log.warning("%s is not used: %s", result.version, describe_difference(result.steps, result.version))
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
