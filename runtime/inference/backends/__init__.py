"""Back ends: libraries that run the int8 model, with equal integers in and out."""

from __future__ import annotations

import time
from typing import Any, Protocol

from numpy.typing import NDArray

from ...bundle.bundle import Bundle
from ...errors import MachineProblem
from ...plugin_tables import load_plugin

BACKENDS = {"onnx": ".onnx:OnnxBackend", "tflite": ".tflite:TfliteBackend"}


class Backend(Protocol):
    """A loaded model."""

    version: str
    """Library and version, for display."""
    is_float: bool
    """True if the model computes in float; its golden outputs then differ."""

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """1 x H x W x 3, uint8 -> each output by name, uint8, in the manifest's shape."""


def load_backend(name: str, bundle: Bundle, threads: int = 1) -> Backend:
    """Loads the bundle's model in the back end `name`.

    Raises:
        MachineProblem: its library is not installed, or rejects the model.
    """
    backend_class = load_plugin(__package__, BACKENDS, name, "backend")
    backend: Backend = backend_class(bundle.model(name), bundle.manifest, threads)
    return backend


def available_backends(bundle: Bundle, threads: int = 1) -> dict[str, Backend]:
    """All back ends of the bundle that load on this machine, by name.

    Raises:
        MachineProblem: none loads.
    """
    loaded, reasons = {}, []
    for name in bundle.manifest.models:
        try:
            loaded[name] = load_backend(name, bundle, threads)
        except MachineProblem as problem:
            reasons.append(problem.message)
    if not loaded:
        raise MachineProblem(f"no back end loads: {'; '.join(reasons)}", hint="pip install onnxruntime")
    return loaded


def fastest_backend(candidates: list[Backend], tensor: NDArray[Any], rounds: int = 7) -> Backend:
    """The candidate that runs `tensor` fastest on this machine: best time of `rounds` interleaved rounds."""
    if len(candidates) == 1:
        return candidates[0]
    best = [float("inf")] * len(candidates)
    for _ in range(rounds):
        for index, backend in enumerate(candidates):
            start = time.perf_counter()
            backend.run(tensor)
            best[index] = min(best[index], time.perf_counter() - start)
    return candidates[best.index(min(best))]
