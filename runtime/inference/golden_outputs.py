"""Golden inputs and outputs: does this machine compute what the workshop computed?"""

from __future__ import annotations

import logging

import numpy as np

from ..bundle.bundle import Bundle
from ..errors import BundleProblem
from . import backends
from .backends import Backend

log = logging.getLogger(__name__)

# ONNX Runtime and LiteRT round ties of element-wise operators differently: one step on some outputs. tflite-runtime's
# plain kernels round oftener: up to 9 steps were seen on a network of 60 layers.
TOLERANCE_STEPS = 2
TOLERANCE_STEPS_TFLITE_RUNTIME = 12
FLOAT = "-float"  # behind the names of golden outputs of a model that computes in float


def difference(bundle: Bundle, backend: Backend) -> int:
    """The largest difference between `backend` and the golden outputs, in integer steps."""
    images, kind = bundle.golden("image"), FLOAT if backend.real else ""
    golden = {output.name: bundle.golden(output.name + kind).astype(int) for output in bundle.manifest.outputs}
    largest = 0
    for index in range(len(images)):
        for name, output in backend.run(images[index : index + 1]).items():
            largest = max(largest, int(np.abs(output.astype(int) - golden[name][index].reshape(output.shape)).max()))
    return largest


def tolerance(backend: Backend) -> int:
    """The difference, in integer steps, up to which `backend` is right."""
    old = backend.version.startswith("tflite-runtime")
    return TOLERANCE_STEPS_TFLITE_RUNTIME if old else TOLERANCE_STEPS


def reproduces(bundle: Bundle, backend: Backend) -> bool:
    return difference(bundle, backend) <= tolerance(backend)


def trusted(bundle: Bundle, name: str, threads: int) -> Backend:
    """The back end called `name`; of `auto`, the fastest here that computes what the workshop computed.

    Raises:
        BundleProblem: none does.
        MachineProblem: none loads.
    """
    loaded = backends.available(bundle, threads) if name == "auto" else {}
    candidates = list(loaded.values()) or [backends.load(name, bundle, threads)]
    right = [backend for backend in candidates if reproduces(bundle, backend)]
    if not right:
        versions = " and ".join(backend.version for backend in candidates)
        raise BundleProblem(
            f"{bundle.path}: the bundle's golden outputs are not reproduced by {versions}",
            hint="run vedette verify on this machine; another version of the back end may be needed",
        )
    backend = backends.fastest(right, bundle.golden("image")[:1])
    log.info("%s on %s", bundle.manifest.model_id, backend.version)
    return backend
